package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/link"
)

// Between two tries to accept on the collect socket lies acceptPause at first, then twice as long each time, up to claimInterval.
const acceptPause = 5 * time.Millisecond

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
	tell := func(err error) {
		if ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			t.log.Warn("the collect socket cannot be served; it is tried again", "error", err)
		}
	}
	for ctx.Err() == nil {
		ln, err := link.Listen(t.cfg.Data.Dir)
		if err == nil {
			err = t.acceptCollect(ctx, ln, &conns, tell)
		}
		tell(err)
		sleep(ctx, claimInterval)
	}
}

// acceptCollect serves what comes over ln, which it closes. It ends where that may not come over ln any more. For want of
// descriptors or memory it does not: closing ln would reset those that wait in its queue.
func (t *traffic) acceptCollect(ctx context.Context, ln net.Listener, conns *sync.WaitGroup, tell func(error)) error {
	defer func() { _ = ln.Close() }()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for pause := acceptPause; ; {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			conns.Go(func() { t.serveChannel(ctx, conn) })
		case scarce(err) && t.reachable():
			tell(err)
			sleep(ctx, pause)
			pause = min(2*pause, claimInterval)
		default:
			return err
		}
	}
}

// scarce reports whether accepting failed for want of something that may be there a moment later.
func scarce(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// reachable reports whether the collect socket still has its name, without which nobody finds it.
func (t *traffic) reachable() bool {
	_, err := os.Lstat(filepath.Join(t.cfg.Data.Dir, link.SocketName))
	return !errors.Is(err, fs.ErrNotExist)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
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
