package traffic

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/link"
	"github.com/wayside-proxy/wayside/spool"
)

// Between two tries to accept on the collect socket lies acceptPause at first, then twice as long each time, up to retryInterval.
const acceptPause = 5 * time.Millisecond

// serveCollect lets a separately started books process connect through the data directory, once that is this process's.
func (t *traffic) serveCollect(ctx context.Context) {
	if t.child == nil && t.lock != nil {
		t.collect.begin.Do(func() { t.part("collect socket", func() error { t.collect.serve(ctx); return nil }) })
	}
}

// collectSocket is the socket in the data directory over which a books process connects that was started by hand.
type collectSocket struct {
	begin sync.Once // serves it
	dir   string
	log   *slog.Logger
	spool *spool.Server
	peers *peers
}

// serve serves the socket until ctx is done. An error, such as a full disk or too many open files, does not end traffic: it is tried
// again.
func (c *collectSocket) serve(ctx context.Context) {
	var conns sync.WaitGroup
	defer conns.Wait()
	reported := ""
	report := func(err error) {
		if ctx.Err() == nil && err.Error() != reported {
			reported = err.Error()
			c.log.Warn("the collect socket cannot be served; it is tried again", "error", err)
		}
	}
	for ctx.Err() == nil {
		ln, err := link.Listen(c.dir)
		if err == nil {
			err = c.accept(ctx, ln, &conns, report)
		}
		report(err)
		sleep(ctx, retryInterval)
	}
}

// accept serves what comes over ln, which it closes. It ends where that may not come over ln any more. Without
// descriptors or memory it does not: closing ln would reset those that wait in its queue.
func (c *collectSocket) accept(ctx context.Context, ln net.Listener, conns *sync.WaitGroup, report func(error)) error {
	defer func() { _ = ln.Close() }()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for pause := acceptPause; ; {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			conns.Go(func() { c.serveChannel(ctx, conn) })
		case scarce(err) && c.reachable():
			report(err)
			sleep(ctx, pause)
			pause = min(2*pause, retryInterval)
		default:
			return err
		}
	}
}

// scarce reports whether accepting failed because of something that may have passed a moment later.
func scarce(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// reachable reports whether the collect socket still has its name, without which nobody finds it.
func (c *collectSocket) reachable() bool {
	_, err := os.Lstat(filepath.Join(c.dir, link.SocketName))
	return !errors.Is(err, fs.ErrNotExist)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (c *collectSocket) serveChannel(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	ch, err := link.ReadChannel(conn)
	if err != nil {
		c.log.Warn("refused a connection on the collect socket", "error", err)
		return
	}
	if ch == link.Spool {
		_ = c.spool.ServeConn(ctx, conn)
		return
	}
	dialer, err := link.NewDialer(conn)
	if err != nil {
		c.log.Warn("refused a connection on the collect socket", "error", err)
		return
	}
	c.peers.connected(0, dialer)
	_, _ = io.Copy(io.Discard, conn) // the books process sends nothing here: this ends when it does
	c.peers.disconnected(dialer)
}
