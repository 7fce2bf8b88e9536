package spool

import (
	"errors"
	"os"
	"sort"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// loadQueues opens the queue files of a folder, oldest first, and merges their indexes; the newer file's copy of a batch
// counts. It returns the newest state, nil if no file could be read.
func (r *recovery) loadQueues() (newest *queue.State, err error) {
	e := r.e
	queue.RemoveUnfinished(e.dir)
	var merged []entry
	for _, number := range queue.Numbers(e.dir) {
		q, m, index, err := r.openFound(number)
		if err != nil {
			return nil, err
		}
		if q == nil {
			continue
		}
		if n := len(e.files); n > 0 {
			e.files[n-1].Retire()
		}
		e.files = append(e.files, q)
		for i := range index {
			merged = append(merged, entry{Batch: index[i], file: q, at: r.o.Now()})
		}
		if m == nil {
			r.o.Logger.Error("the state of a queue file is damaged; the ledger's figures are used", "file", q.Name())
			continue
		}
		if newest == nil {
			newest = m
			continue
		}
		newest = newerState(newest, m)
	}
	// Newer files come later in merged: a stable sort keeps them behind older copies of the same batch.
	sort.SliceStable(merged, func(i, j int) bool { return merged[i].First < merged[j].First })
	for _, b := range merged {
		if n := len(e.index); n > 0 && e.index[n-1].First == b.First {
			e.index[n-1] = b
			continue
		}
		e.index = append(e.index, b)
	}
	return newest, nil
}

// openFound opens a queue file of a dead process. A damaged file is set aside: then all results are nil. An error means
// that it may be readable later.
func (r *recovery) openFound(number int) (*queue.File, *queue.State, []queue.Batch, error) {
	o, name := r.o.queue(), queue.Name(r.e.dir, number)
	if info, err := os.Stat(name); err == nil {
		// A closed epoch gets no new events beyond its journal, which must find room.
		o.BytesMax = max(o.BytesMax, info.Size()) + 2*int64(r.o.Segments)*int64(r.o.SegmentBytes)
	}
	q, m, index, err := queue.Open(o, r.e.dir, number, r.e.id)
	if errors.Is(err, queue.ErrDamaged) {
		r.aside.file(r.e.id, name, err)
		return nil, nil, nil, nil
	}
	return q, m, index, err
}

// newerState joins the states of two files of an epoch, the older one first.
func newerState(a, b *queue.State) *queue.State {
	out := *b
	out.Generation, out.LastSeq = max(a.Generation, b.Generation), max(a.LastSeq, b.LastSeq)
	// Recorded becomes less when something is dropped that was recorded: only both together are cumulative.
	gone := droppedLater(b)
	recorded := max(a.Recorded+droppedLater(a), b.Recorded+gone)
	out.Recorded, out.Excluded = recorded-min(recorded, gone), max(a.Excluded, b.Excluded)
	out.Version, out.Expired = max(a.Version, b.Version), max(a.Expired, b.Expired)
	if a.Acked > b.Acked {
		out.Acked, out.AckedResponses = a.Acked, a.AckedResponses
	}
	return &out
}

// droppedLater counts the responses that were recorded first and dropped afterwards.
func droppedLater(m *queue.State) uint64 {
	return m.Dropped[lostDamaged.String()] + m.Dropped[lostAge.String()]
}
