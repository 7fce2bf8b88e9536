package paths

import (
	"maps"
	"slices"
	"strings"
)

func (l *Labeler) evaluateFirst() uint64 {
	return uint64(min(evaluateFirst, max(16, l.max/2)))
}

// lookSoon makes sure that the rows are looked at again: something is new.
func (l *Labeler) lookSoon() {
	if l.learnOff {
		return
	}
	l.tally.next = min(l.tally.next, l.tally.events+l.tally.interval)
}

// evaluate looks at the rows of every host, learns what there is to learn, and sets when to look again: the longer, the
// less the last looks have found.
func (l *Labeler) evaluate() {
	l.journal.looked(l)
	l.tally.next = 1 << 63
	byHost := map[string][]sample{}
	for _, r := range l.sorted() {
		if r.label[0] == '/' && !l.configured[r.label] && r.count > 0 {
			byHost[r.host] = append(byHost[r.host], sample{rest: r.label, count: r.count})
		}
	}
	soft, fresh := l.look(byHost, false)
	if l.templatesWith(soft, fresh) > l.max*9/10 {
		soft, fresh = l.look(byHost, true) // room is short
		if l.templatesWith(soft, fresh) > l.max {
			for key, v := range l.soft { // what has been merged cannot come apart now
				if soft[key] == nil {
					soft[key] = v
				}
			}
		}
	}
	if len(fresh) == 0 && sameLevels(soft, l.soft) {
		l.tally.interval = min(l.tally.interval*2, evaluateMax)
		if len(l.merged) >= l.max { // until it is found that there is room again
			l.lookSoon()
		}
		return
	}
	if len(fresh) > 0 {
		l.tally.interval = l.evaluateFirst()
	} else {
		l.tally.interval = min(l.tally.interval*2, evaluateMax)
	}
	for _, v := range fresh {
		if len(l.levels) < levelsMax {
			l.learn(v)
		}
	}
	l.setSoft(soft)
	l.publish()
	l.fold(len(fresh) > 0)
	l.cache.clear()
	l.lookSoon() // what is merged may show more
}

// look decides about every level of every host; full says that room is short.
func (l *Labeler) look(byHost map[string][]sample, full bool) (soft map[string]*level, fresh []*level) {
	soft = map[string]*level{}
	for _, host := range slices.Sorted(maps.Keys(byHost)) {
		t := tree{l: l, host: host, soft: soft, full: full, short: l.ordinary >= 2*l.max}
		t.visit("", byHost[host], 0)
		fresh = append(fresh, t.fresh...)
	}
	return soft, fresh
}

// templatesWith is the number of templates that the rows would be shown as with these levels besides those learnt.
func (l *Labeler) templatesWith(soft map[string]*level, fresh []*level) int {
	r := &Rules{levels: maps.Clone(l.levels), configured: l.configured}
	maps.Copy(r.levels, soft)
	for _, v := range fresh {
		r.levels[levelKey(v.host, v.prefix)] = v
	}
	seen := make(map[string]bool, len(l.merged))
	for _, x := range l.rows {
		if x.label != Other {
			seen[mergedKey(x.host, r.Label(x.host, x.label))] = true
		}
	}
	return len(seen)
}

// sorted are the rows in the order of their admission.
func (l *Labeler) sorted() []*row {
	out := make([]*row, 0, l.ordinary)
	for _, r := range l.rows {
		if r.label != Other {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *row) int { return int(a.order) - int(b.order) })
	return out
}

func sameLevels(a, b map[string]*level) bool {
	if len(a) != len(b) {
		return false
	}
	for key, x := range a {
		if y := b[key]; y == nil || !x.same(y) {
			return false
		}
	}
	return true
}

// learn adds a level for good.
func (l *Labeler) learn(v *level) {
	v.order = l.nextLevel
	l.nextLevel++
	l.setLevel(v)
}

// setSoft replaces the levels that only look as if they varied.
func (l *Labeler) setSoft(soft map[string]*level) {
	for key, old := range l.soft {
		if now := soft[key]; now == nil || l.levels[key] != nil {
			l.journal.dropLevel(l, old)
			delete(l.soft, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(soft)) {
		now, old := soft[key], l.soft[key]
		switch {
		case l.levels[key] != nil, old != nil && old.same(now):
			continue
		case old != nil:
			now.order = old.order
		default:
			now.order = l.nextLevel
			l.nextLevel++
		}
		l.journal.setLevel(l, now)
		l.soft[key] = now
	}
}

func (l *Labeler) setLevel(v *level) {
	l.journal.setLevel(l, v)
	l.levels[levelKey(v.host, v.prefix)] = v
}

// publish makes the present levels the rules.
func (l *Labeler) publish() {
	r := &Rules{levels: make(map[string]*level, len(l.levels)+len(l.soft)), configured: l.configured}
	maps.Copy(r.levels, l.soft)
	maps.Copy(r.levels, l.levels)
	l.rules.Store(r)
}

// fold brings the rows in step with the rules: rows whose label a learnt level changes become one row with the new label,
// and all are counted under the template that they are shown as.
func (l *Labeler) fold(learnt bool) {
	hard := &Rules{levels: l.levels, configured: l.configured}
	rules := l.Rules()
	for _, r := range l.sorted() {
		label := r.label
		if learnt {
			label = hard.Label(r.host, r.label)
		}
		if label == r.label {
			if shown := rules.Label(r.host, r.label); shown != r.shown {
				l.journal.reshown(l, r)
				decrement(l.shown, shownKey(r.host, r.method, r.shown))
				decrement(l.merged, mergedKey(r.host, r.shown))
				r.shown = shown
				l.shown[shownKey(r.host, r.method, shown)]++
				l.merged[mergedKey(r.host, shown)]++
			}
			continue
		}
		l.journal.removed(l, r)
		l.remove(r)
		l.key = appendRowKey(l.key[:0], r.host, r.method, []byte(label))
		into := l.rows[string(l.key)]
		if into == nil {
			into = l.admit(r.host, r.method, label, rules.Label(r.host, label))
		}
		l.journal.counted(into)
		into.count = min(into.count+r.count, countMax)
	}
}

// Learnt lists what was learnt, for people: the levels that vary for good, then those that look so.
func (l *Labeler) Learnt() (learnt, likely []string) {
	for _, v := range l.levels {
		learnt = append(learnt, strings.TrimSpace(v.host+" "+v.prefix+"/"+idPlaceholder))
	}
	for _, v := range l.soft {
		likely = append(likely, strings.TrimSpace(v.host+" "+v.prefix+"/"+idPlaceholder))
	}
	slices.Sort(learnt)
	slices.Sort(likely)
	return learnt, likely
}
