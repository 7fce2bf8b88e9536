package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/link"
)

// presence is which books process is connected.
type presence struct {
	mu     sync.Mutex
	dialer *link.Dialer  // of the one that came last; nil while none is connected
	came   chan struct{} // holds one word of an arrival
}

func (p *presence) away() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialer == nil
}

// meanwhile says what becomes of responses that no books process takes.
func (t *traffic) meanwhile() string {
	if reason := t.spool.Status().Degraded; reason != "" {
		return "what cannot be recorded is counted as dropped (" + reason + ")"
	}
	return "what is recorded waits in the spool"
}

func (t *traffic) booksCame(pid int, dialer *link.Dialer) {
	t.log.Info("books process started", "pid", pid)
	t.peer.mu.Lock()
	t.peer.dialer = dialer
	t.admin.SetBooks(dialer)
	t.peer.mu.Unlock()
	select {
	case t.peer.came <- struct{}{}:
	default:
	}
}

// booksLeft is called at the end of the books process of dialer; nil: of whichever is connected. One that another has followed
// takes nothing with it.
func (t *traffic) booksLeft(dialer *link.Dialer) {
	t.peer.mu.Lock()
	defer t.peer.mu.Unlock()
	if dialer != nil && t.peer.dialer != dialer {
		return
	}
	t.peer.dialer = nil
	t.admin.SetBooks(nil)
}

// touchInterval is how often the books process is asked whether it answers.
const touchInterval = 2 * time.Second

// keepInTouch asks the books process every now and then whether it answers, for those who may not wait for that, and has it say
// what its store holds once it can, for the time when it cannot.
func (t *traffic) keepInTouch(ctx context.Context) {
	tick := time.NewTicker(touchInterval)
	defer tick.Stop()
	for silent := false; ; {
		err := t.admin.PingBooks(ctx)
		if now := errors.Is(err, admin.ErrBooksSilent); now != silent && !errors.Is(err, admin.ErrBooksAway) && ctx.Err() == nil {
			if now {
				silent = true
				t.log.Warn("the books process does not answer; traffic is served", "meanwhile", t.meanwhile())
			} else if err == nil { // any other error says nothing of it
				silent = false
				t.log.Info("the books process answers again")
			}
		}
		if err == nil {
			if err := t.accounts.Refresh(ctx); err != nil {
				t.log.Debug("ask for the store's figures", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.peer.came:
		case <-tick.C:
		}
	}
}
