package spool

import (
	"sync"
	"sync/atomic"
	"time"
)

// durable lets appenders wait until their event has been committed (Options.SyncEachResponse).
type durable struct {
	waiting atomic.Int32
	mu      sync.Mutex
	seq     uint64        // guarded by mu: for events up to this seq, the commit has succeeded or failed
	synced  uint64        // guarded by mu: events up to this seq are on disk
	decided chan struct{} // guarded by mu: closed and replaced when seq increases
}

// wait returns true as soon as the event is on disk, and false if its commit failed or takes longer than SyncWaitMax.
func (d *durable) wait(seq uint64, notify func()) (synced bool) {
	d.waiting.Add(1)
	defer d.waiting.Add(-1)
	notify()
	timeout := time.NewTimer(SyncWaitMax)
	defer timeout.Stop()
	for {
		d.mu.Lock()
		done, synced, decided := d.seq >= seq, d.synced >= seq, d.decided
		d.mu.Unlock()
		if done {
			return synced
		}
		select {
		case <-decided:
		case <-timeout.C:
			return false
		}
	}
}

// decide wakes the appenders of events up to seq, whose commit has succeeded or failed.
func (d *durable) decide(seq uint64, committed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if committed {
		d.synced = max(d.synced, seq)
	}
	if seq <= d.seq {
		return
	}
	d.seq = seq
	close(d.decided)
	d.decided = make(chan struct{})
}
