package paths

import "maps"

// journal holds the changes of a batch: those that Changes returns, and the previous state, which Rollback restores.
type journal struct {
	// For Changes:
	rows       map[*row]bool     // the rows that were admitted or counted
	rowsGone   []uint32          // order numbers of rows that were removed
	levels     map[uint32]*level // by order number; added or changed
	levelsGone map[uint32]bool   // order numbers of levels that were removed
	hosts      []string          // the hosts that were added

	// For Rollback:
	before *saved       // the state before the first evaluation of the batch; nil if there was none
	counts map[*row]int // counts of the changed rows when the batch began
	fresh  []*row       // the rows that were admitted
	tally  tally
	next   [3]uint32
}

// saved is a copy of everything that an evaluation can change.
type saved struct {
	rows           map[string]row
	levels, likely map[string]*level
	rules          *Rules
}

func (j *journal) begin(l *Labeler) {
	*j = journal{
		rows: clearMap(j.rows), levels: clearMap(j.levels), levelsGone: clearMap(j.levelsGone), counts: clearMap(j.counts),
		hosts: j.hosts[:0], fresh: j.fresh[:0], rowsGone: j.rowsGone[:0],
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

// save copies the table before the first evaluation of the batch changes it.
func (j *journal) save(l *Labeler) {
	if j.rows == nil || j.before != nil {
		return
	}
	s := &saved{rows: make(map[string]row, len(l.rows)), levels: maps.Clone(l.levels), likely: maps.Clone(l.likely), rules: l.Rules()}
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

func (j *journal) removed(r *row) {
	if j.rows == nil {
		return
	}
	delete(j.rows, r)
	j.rowsGone = append(j.rowsGone, r.order)
}

func (j *journal) setLevel(l *Labeler, v *level) {
	if j.rows == nil {
		return
	}
	j.save(l) // keepName may change a level without an evaluation
	j.levels[v.order] = v
	delete(j.levelsGone, v.order)
}

func (j *journal) dropLevel(v *level) {
	if j.rows == nil {
		return
	}
	delete(j.levels, v.order)
	j.levelsGone[v.order] = true
}

// undo restores the state at the time of Begin.
func (j *journal) undo(l *Labeler) {
	for _, host := range j.hosts {
		delete(l.hosts, host)
	}
	l.tally = j.tally
	l.nextRow, l.nextHost, l.nextLevel = j.next[0], j.next[1], j.next[2]
	if s := j.before; s != nil {
		l.levels, l.likely = s.levels, s.likely
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

// reset replaces the table with copies of these rows.
func (l *Labeler) reset(rows map[string]row) {
	clear(l.rows)
	clear(l.shown)
	clear(l.merged)
	clear(l.watches)
	l.exact.Clear()
	l.ordinary, l.overflow = 0, 0
	for key, r := range rows {
		l.insert(key, &r)
	}
}
