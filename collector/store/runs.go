package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Runs stores the runs: the periods in which a traffic process was running. Nothing was recorded between two runs, so rates are computed
// without that time. The run of a process that was killed ended with its last heartbeat: its last event, or the last response of its
// spool.
type Runs struct {
	*database
	marks *MarkLog

	mu      sync.Mutex
	list    []run     // sorted by beginning; guarded by mu
	running uuid.UUID // the epoch that is running now; guarded by mu
}

// run is the period in which one traffic process was running. Times are in µs since 1970.
type run struct {
	epoch    uuid.UUID
	from, to int64
	ended    bool  // whether the process was shut down; if not, to is its last heartbeat
	stored   int64 // the value of to in the database
}

const (
	// runsMax is the maximum number of runs that are kept. The time before the first one counts as recorded.
	runsMax = 4096
	// signInterval is the shortest time between two stored heartbeats.
	signInterval = 10 * time.Second
	crashedText  = "wayside ended without a shutdown"
)

// A key is prefix, beginning in µs (8), epoch (16). A value is the end in µs (8, little endian), followed by 1 after a
// shutdown (1).

func (r *run) key() []byte {
	return append(binary.BigEndian.AppendUint64([]byte{prefixRun}, uint64(r.from)), r.epoch[:]...)
}

func (r *run) write(txn *badger.Txn) error {
	value := binary.LittleEndian.AppendUint64(nil, uint64(r.to))
	if r.ended {
		value = append(value, 1)
	} else {
		value = append(value, 0)
	}
	return set(txn, r.key(), value)
}

// load reads the runs when the store is opened. A process that was not shut down was running at least until its last event.
func (r *Runs) load(txn *badger.Txn) error {
	err := each(context.Background(), txn, []byte{prefixRun}, nil, func(key, value []byte) error {
		if len(key) != 1+8+16 || len(value) != 9 {
			return fmt.Errorf("%w: run of a process", ErrDamaged)
		}
		to := int64(binary.LittleEndian.Uint64(value))
		r.list = append(r.list, run{
			epoch: uuid.UUID(key[9:]), from: int64(binary.BigEndian.Uint64(key[1:])), to: to, ended: value[8] == 1, stored: to,
		})
		return nil
	})
	if err != nil || len(r.list) == 0 || r.list[len(r.list)-1].ended {
		return err
	}
	last := &r.list[len(r.list)-1]
	var h block.Header
	return each(context.Background(), txn, []byte{prefixBlock}, appendHourKey(nil, prefixBlock, stats.HourOfMicros(last.to)), func(_, value []byte) error {
		if h.DecodeBlock(value) == nil && h.Epoch == last.epoch {
			last.to = max(last.to, h.MaxTime)
		}
		return nil
	})
}

// NoteRun records that the traffic process of an epoch, which began at the given time, is running now. The first call for a run stores the
// run's beginning, with a mark; later calls store a heartbeat, at most every ten seconds.
func (r *Runs) NoteRun(epoch uuid.UUID, began, now time.Time) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.find(epoch)
	if i < 0 {
		return r.begin(run{epoch: epoch, from: began.UnixMicro(), to: max(now.UnixMicro(), began.UnixMicro())})
	}
	known := &r.list[i]
	if known.ended {
		return nil
	}
	r.running = epoch
	if known.to = max(known.to, now.UnixMicro()); known.to-known.stored < signInterval.Microseconds() {
		return nil
	}
	return r.store(known)
}

// EndRun records that the running traffic process has stopped serving, and adds a mark.
func (r *Runs) EndRun(at time.Time) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.find(r.running)
	if i < 0 || r.list[i].ended {
		return nil
	}
	last := &r.list[i]
	last.to, last.ended, r.running = max(last.from, at.UnixMicro()), true, uuid.Nil
	if err := r.store(last); err != nil {
		return err
	}
	_, err := r.marks.add(catalogue.Mark{Time: at, Kind: catalogue.MarkStop, Text: "wayside stopped"})
	return err
}

// AddMark durably stores a mark and returns it with its final time. The mark also counts as a heartbeat of the running traffic process. The
// text must have passed [catalogue.CheckMarkText].
func (s *Store) AddMark(mark catalogue.Mark) (catalogue.Mark, error) {
	if err := s.enter(); err != nil {
		return mark, err
	}
	defer s.leave()
	mark, err := s.MarkLog.add(mark)
	if err != nil {
		return mark, err
	}
	r := s.Runs
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.find(r.running)
	if i < 0 || r.list[i].to >= mark.Time.UnixMicro() {
		return mark, nil
	}
	r.list[i].to = mark.Time.UnixMicro()
	return mark, r.store(&r.list[i])
}

// saw records the time of the last event of a batch.
func (r *Runs) saw(epoch uuid.UUID, micros int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.find(epoch); i >= 0 && !r.list[i].ended {
		r.list[i].to = max(r.list[i].to, micros)
	}
}

// find returns the index of an epoch's run, or -1. The caller holds mu.
func (r *Runs) find(epoch uuid.UUID) int {
	for i := len(r.list) - 1; i >= 0; i-- {
		if r.list[i].epoch == epoch {
			return i
		}
	}
	return -1
}

// store writes a run. The caller holds mu.
func (r *Runs) store(of *run) error {
	if err := r.update(of.write); err != nil {
		return err
	}
	of.stored = of.to
	return nil
}

// begin adds a run. The previous run has ended, perhaps without a shutdown. The caller holds mu.
func (r *Runs) begin(next run) error {
	crashed, oldest := (*run)(nil), [][]byte(nil)
	if n := len(r.list); n > 0 && !r.list[n-1].ended && r.list[n-1].to < next.from {
		crashed = &r.list[n-1]
	}
	for i := 0; len(r.list)-i >= runsMax; i++ {
		oldest = append(oldest, r.list[i].key())
	}
	err := r.update(func(txn *badger.Txn) error {
		if crashed != nil {
			if err := crashed.write(txn); err != nil {
				return err
			}
		}
		return next.write(txn)
	})
	if err == nil {
		err = r.deleteKeys(context.Background(), oldest)
	}
	if err != nil {
		return err
	}
	if crashed != nil {
		crashed.stored = crashed.to
		if _, err := r.marks.add(catalogue.Mark{Time: time.UnixMicro(crashed.to), Kind: catalogue.MarkStop, Text: crashedText}); err != nil {
			return err
		}
	}
	next.stored = next.to
	at, _ := slices.BinarySearchFunc(r.list, next, func(a, b run) int { return bytes.Compare(a.key(), b.key()) })
	r.list = slices.Insert(r.list, at, next)
	r.list = slices.Delete(r.list, 0, len(oldest))
	r.running = next.epoch
	_, err = r.marks.add(catalogue.Mark{Time: time.UnixMicro(next.from), Kind: catalogue.MarkStart, Text: "wayside started"})
	return err
}

// Gaps returns the periods between from and to in which no traffic process was running, in ascending order. The time before the first
// known run is not a gap.
func (r *Runs) Gaps(from, to time.Time) (gaps []stats.Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		return nil
	}
	begin, end := from.UnixMicro(), to.UnixMicro()
	covered := r.list[0].from // end of the time examined so far
	add := func(until int64) {
		a, b := max(covered, begin), min(until, end)
		if a < b {
			gaps = append(gaps, stats.Gap{From: time.UnixMicro(a).UTC(), To: time.UnixMicro(b).UTC()})
		}
	}
	for i := range r.list {
		of := &r.list[i]
		add(of.from)
		if of.epoch == r.running {
			return gaps
		}
		covered = max(covered, of.to)
	}
	add(end)
	return gaps
}
