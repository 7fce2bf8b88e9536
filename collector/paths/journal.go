package paths

import "maps"

// journal remembers what a batch has changed: for Changes, what is to be written; for Rollback, how to undo it.
type journal struct {
	rows   map[*row]bool // admitted or counted
	gone   []uint32      // orders of rows that were removed
	levels map[uint32]*level
	drop   map[uint32]bool // orders of levels that were removed
	hosts  []string

	before *saved // state before the first look of the batch; nil without one
	counts map[*row]int
	fresh  []*row
	tally  tally
	next   [3]uint32
}

// saved is a copy of everything that a look may change.
type saved struct {
	rows         map[string]row
	levels, soft map[string]*level
	rules        *Rules
}

func (j *journal) begin(l *Labeler) {
	*j = journal{
		rows: clearMap(j.rows), levels: clearMap(j.levels), drop: clearMap(j.drop), counts: clearMap(j.counts),
		hosts: j.hosts[:0], fresh: j.fresh[:0], gone: j.gone[:0],
		tally: l.tally, next: [3]uint32{l.nextRow, l.nextHost, l.nextLevel},
	}
}

func clearMap[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	clear(m)
	return m
}

func (j *journal) added(r *row) {
	if j.rows == nil {
		return // before the first Begin
	}
	j.rows[r] = true
	j.fresh = append(j.fresh, r)
}

func (j *journal) counted(r *row) {
	if j.rows == nil || r.order == catchAllOrder {
		return
	}
	j.rows[r] = true
	if _, known := j.counts[r]; !known {
		j.counts[r] = r.count
	}
}

// looked saves the table as it was when the batch began, before it is looked at for the first time in the batch.
func (j *journal) looked(l *Labeler) {
	if j.rows == nil || j.before != nil {
		return
	}
	s := &saved{rows: make(map[string]row, len(l.rows)), levels: maps.Clone(l.levels), soft: maps.Clone(l.soft), rules: l.Rules()}
	fresh := make(map[*row]bool, len(j.fresh))
	for _, r := range j.fresh {
		fresh[r] = true
	}
	for key, r := range l.rows {
		if fresh[r] {
			continue
		}
		was := *r
		if n, changed := j.counts[r]; changed {
			was.count = n
		}
		s.rows[key] = was
	}
	j.before = s
}

func (j *journal) removed(_ *Labeler, r *row) {
	if j.rows == nil {
		return
	}
	delete(j.rows, r)
	j.gone = append(j.gone, r.order)
}

func (j *journal) reshown(*Labeler, *row) {} // derived from the rules, not written

func (j *journal) setLevel(l *Labeler, v *level) {
	if j.rows == nil {
		return
	}
	j.looked(l) // names are kept outside a look too
	j.levels[v.order] = v
	delete(j.drop, v.order)
}

func (j *journal) dropLevel(_ *Labeler, v *level) {
	if j.rows == nil {
		return
	}
	delete(j.levels, v.order)
	j.drop[v.order] = true
}

// undo puts everything back as it was at Begin.
func (j *journal) undo(l *Labeler) {
	for _, host := range j.hosts {
		delete(l.hosts, host)
	}
	l.tally = j.tally
	l.nextRow, l.nextHost, l.nextLevel = j.next[0], j.next[1], j.next[2]
	if s := j.before; s != nil {
		l.levels, l.soft = s.levels, s.soft
		l.rules.Store(s.rules)
		l.reset(s.rows)
	} else {
		for r, n := range j.counts {
			r.count = n
		}
		for _, r := range j.fresh {
			l.remove(r)
		}
	}
	l.cache.clear()
}

// reset makes copies of these rows the table.
func (l *Labeler) reset(rows map[string]row) {
	clear(l.rows)
	clear(l.shown)
	clear(l.merged)
	clear(l.watches)
	l.ordinary, l.overflow = 0, 0
	for key, r := range rows {
		l.insert(key, &r)
	}
}
