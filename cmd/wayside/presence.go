package main

import (
	"context"
	"errors"
	"io"
	"net"
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
		err := t.admin.BooksThere(ctx)
		if now := errors.Is(err, admin.ErrBooksSilent); now != silent && !errors.Is(err, admin.ErrBooksAway) && ctx.Err() == nil {
			if now {
				silent = true
				t.log.Warn("the books process does not answer; traffic is served, and what is recorded waits in the spool")
			} else if err == nil { // any other error says nothing of it
				silent = false
				t.log.Info("the books process answers again")
			}
		}
		if err == nil {
			t.learnView(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.peer.came:
		case <-tick.C:
		}
	}
}

// learnView asks for the store's figures where there are none yet, or where an epoch was retired since: its figures are in the
// store, and no longer in the spools.
func (t *traffic) learnView(ctx context.Context) {
	before, err := t.spool.Ledgers(ctx, nil)
	if err != nil {
		return // what can be read of the spools says so itself
	}
	if last := t.view.Load(); last == nil || !complete(last.before, before, last.view.Ledgers) {
		if _, err := t.askView(ctx, before); err != nil {
			t.log.Debug("ask for the store's figures", "error", err)
		}
	}
}

// beginCollect lets a separately started books process connect through the data directory, once that is this process's.
func (t *traffic) beginCollect(ctx context.Context) {
	if t.child == nil && t.lock != nil {
		t.collecting.Do(func() { t.part("collect socket", func() error { t.serveCollect(ctx); return nil }) })
	}
}

// serveCollect serves the collect socket until ctx is done. Whatever stands in its way, a full disk or too many open files, is no
// reason for traffic to end: it is tried again.
func (t *traffic) serveCollect(ctx context.Context) {
	var conns sync.WaitGroup
	defer conns.Wait()
	told := ""
	for ctx.Err() == nil {
		err := t.acceptCollect(ctx, &conns)
		if ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			t.log.Warn("the collect socket cannot be served; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(claimInterval):
		}
	}
}

func (t *traffic) acceptCollect(ctx context.Context, conns *sync.WaitGroup) error {
	ln, err := link.Listen(t.cfg.Data.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = ln.Close() }()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		conns.Go(func() { t.serveChannel(ctx, conn) })
	}
}

func (t *traffic) serveChannel(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	ch, err := link.ReadChannel(conn)
	if err != nil {
		t.log.Warn("refused a connection on the collect socket", "error", err)
		return
	}
	if ch == link.Spool {
		_ = t.server.ServeConn(ctx, conn)
		return
	}
	dialer, err := link.NewDialer(conn)
	if err != nil {
		t.log.Warn("refused a connection on the collect socket", "error", err)
		return
	}
	t.booksCame(0, dialer)
	_, _ = io.Copy(io.Discard, conn) // the books process sends nothing here: this ends when it does
	t.booksLeft(dialer)
}
