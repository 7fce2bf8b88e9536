package spool

import (
	"errors"
	"os"
	"sort"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// loadQueues opens the queue files in a folder, oldest first, and merges their indexes. If two files have the same batch, the newer file's copy
// is used. It returns the newest state, or nil if no file has a readable one.
func (r *recovery) loadQueues() (newest *queue.State, err error) {
	e := r.e
	queue.RemoveUnfinished(e.dir)
	var merged []entry
	for _, number := range queue.Numbers(e.dir) {
		q, state, index, err := r.openQueue(number)
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
		if state == nil {
			r.o.Logger.Error("the state in a queue file is damaged; using the ledger's figures", "file", q.Name())
		}
		newest = mergeStates(newest, state)
	}
	// The sort is stable: of two copies of a batch, the newer file's copy comes second.
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

// openQueue opens a queue file of a dead process. If the file is damaged, openQueue moves it to the quarantine and returns only nil values. An
// error means that the file may be readable later.
func (r *recovery) openQueue(number int) (*queue.File, *queue.State, []queue.Batch, error) {
	o, name := r.o.queue(), queue.Name(r.e.dir, number)
	if info, err := os.Stat(name); err == nil {
		// The events in the epoch's journal must fit. No others will be added.
		o.BytesMax = max(o.BytesMax, info.Size()) + 2*int64(r.o.Segments)*int64(r.o.SegmentBytes)
	}
	q, state, index, err := queue.Open(o, r.e.dir, number, r.e.id)
	if errors.Is(err, queue.ErrDamaged) {
		r.quarantine.file(r.e.id, name, err)
		return nil, nil, nil, nil
	}
	return q, state, index, err
}
