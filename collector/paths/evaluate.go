package paths

import (
	"maps"
	"slices"
	"strings"
)

func (l *Labeler) evaluateFirst() uint64 {
	return uint64(min(evaluateFirst, max(16, l.max/2)))
}

// evaluateSoon schedules an evaluation after one more interval, unless one is already scheduled for an earlier time.
func (l *Labeler) evaluateSoon() {
	if l.learnOff {
		return
	}
	l.tally.next = min(l.tally.next, l.tally.events+l.tally.interval)
}

// evaluate learns from the rows of every host, and schedules the next evaluation. If it has learned nothing, the next one is later.
func (l *Labeler) evaluate() {
	l.journal.save(l)
	l.tally.next = 1 << 63
	byHost := map[string][]sample{}
	for _, r := range l.sorted() {
		if r.label[0] == '/' && !r.grpc && !l.configured[r.label] && r.count > 0 {
			byHost[r.host] = append(byHost[r.host], sample{rest: r.label, count: r.count})
		}
	}
	likely, fresh := l.findLevels(byHost, false)
	if l.templatesWith(likely, fresh) > l.max*9/10 {
		likely, fresh = l.findLevels(byHost, true) // only a few templates are left
		if l.templatesWith(likely, fresh) > l.max {
			for key, v := range l.likely { // merged rows must stay merged
				if likely[key] == nil {
					likely[key] = v
				}
			}
		}
	}
	if len(fresh) == 0 && sameLevels(likely, l.likely) {
		l.tally.interval = min(l.tally.interval*2, evaluateMax)
		if len(l.merged) >= l.max { // nothing more can be merged until an evaluation makes room
			l.evaluateSoon()
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
	l.setLikely(likely)
	l.publish()
	l.fold(len(fresh) > 0)
	l.cache.clear()
	l.evaluateSoon() // merged rows may form further levels
}

// findLevels examines every level of every host. full means that there is room for only a few more templates.
func (l *Labeler) findLevels(byHost map[string][]sample, full bool) (likely map[string]*level, fresh []*level) {
	likely = map[string]*level{}
	for _, host := range slices.Sorted(maps.Keys(byHost)) {
		t := tree{l: l, host: host, likely: likely, full: full, short: l.ordinary >= 2*l.max}
		t.visit("", byHost[host], 0)
		fresh = append(fresh, t.fresh...)
	}
	return likely, fresh
}

// templatesWith returns the number of templates that the rows would have with these levels.
func (l *Labeler) templatesWith(likely map[string]*level, fresh []*level) int {
	r := l.rulesOf(maps.Clone(l.levels))
	maps.Copy(r.levels, likely)
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

// sorted returns the rows in the order in which they were added.
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

// learn adds a level permanently.
func (l *Labeler) learn(v *level) {
	v.order = l.nextLevel
	l.nextLevel++
	l.setLevel(v)
}

// setLikely replaces the likely levels.
func (l *Labeler) setLikely(likely map[string]*level) {
	for key, old := range l.likely {
		if now := likely[key]; now == nil || l.levels[key] != nil {
			l.journal.dropLevel(old)
			delete(l.likely, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(likely)) {
		now, old := likely[key], l.likely[key]
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
		l.likely[key] = now
	}
}

func (l *Labeler) setLevel(v *level) {
	l.journal.setLevel(l, v)
	l.levels[levelKey(v.host, v.prefix)] = v
}

// publish turns the current levels into the rules that determine how rows are shown.
func (l *Labeler) publish() {
	r := l.rulesOf(make(map[string]*level, len(l.levels)+len(l.likely)))
	maps.Copy(r.levels, l.likely)
	maps.Copy(r.levels, l.levels)
	l.rules.Store(r)
}

func (l *Labeler) rulesOf(levels map[string]*level) *Rules {
	return &Rules{levels: levels, configured: l.configured, exact: &l.exact}
}

// fold applies the rules to the rows: rows whose label a learned level changes are merged into one row with the new label, and each row is
// counted for the template under which it is shown.
func (l *Labeler) fold(learnt bool) {
	hard := l.rulesOf(l.levels)
	rules := l.Rules()
	for _, r := range l.sorted() {
		label := r.label
		if learnt {
			label = hard.Label(r.host, r.label)
		}
		if label == r.label {
			if shown := rules.Label(r.host, r.label); shown != r.shown {
				decrement(l.shown, r.shownKey())
				decrement(l.merged, mergedKey(r.host, r.shown))
				r.shown = shown
				l.shown[r.shownKey()]++
				l.merged[mergedKey(r.host, shown)]++
			}
			continue
		}
		l.journal.removed(r)
		l.remove(r)
		n := r.name
		n.label = label
		l.key = appendRowKey(l.key[:0], &n)
		into := l.rows[string(l.key)]
		if into == nil {
			into = l.admit(n, rules.Label(r.host, label))
		}
		l.journal.counted(into)
		into.count = min(into.count+r.count, countMax)
	}
}

// Learnt lists the learned and the likely levels in readable form.
func (l *Labeler) Learnt() (learnt, likely []string) {
	for _, v := range l.levels {
		learnt = append(learnt, strings.TrimSpace(v.host+" "+v.prefix+"/"+idPlaceholder))
	}
	for _, v := range l.likely {
		likely = append(likely, strings.TrimSpace(v.host+" "+v.prefix+"/"+idPlaceholder))
	}
	slices.Sort(learnt)
	slices.Sort(likely)
	return learnt, likely
}
