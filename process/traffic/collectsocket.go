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
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/link"
	"github.com/wayside-proxy/wayside/spool"
)

// acceptPause is the first pause between two attempts to accept on the collect socket. It doubles up to retryInterval.
const acceptPause = 5 * time.Millisecond

// collectSocket is the socket in the data directory through which a books process that was started by hand connects.
type collectSocket struct {
	dir    string
	log    *slog.Logger
	server *spool.Server
	peers  *peers

	warned string // the last error that was logged
}

// serve serves the socket until ctx is done. After an error, such as a full disk or too many open files, it tries again; traffic is not affected.
func (c *collectSocket) serve(ctx context.Context) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for ctx.Err() == nil {
		ln, err := link.Listen(c.dir)
		if err == nil {
			err = c.accept(ctx, ln, &conns)
		}
		c.warn(ctx, err)
		sleep(ctx, retryInterval)
	}
}

// warn logs an error, unless it is the same as the last one.
func (c *collectSocket) warn(ctx context.Context, err error) {
	if ctx.Err() == nil && err.Error() != c.warned {
		c.warned = err.Error()
		c.log.Warn("cannot serve the collect socket, to which wayside collect connects; wayside will try again", "error", err)
	}
}

// accept serves connections from ln, and closes ln when no more connections can come from it. It does not close ln if descriptors
// or memory are exhausted, because that would reset the connections that are waiting in ln's queue.
func (c *collectSocket) accept(ctx context.Context, ln net.Listener, conns *sync.WaitGroup) error {
	defer func() { _ = ln.Close() }()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for pause := acceptPause; ; {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			conns.Go(func() { c.serveConn(ctx, conn) })
		case isScarcity(err) && c.reachable():
			c.warn(ctx, err)
			sleep(ctx, pause)
			pause = min(2*pause, retryInterval)
		default:
			return err
		}
	}
}

// isScarcity reports whether accepting failed because of a lack of resources that may soon be available again.
func isScarcity(err error) bool {
	return slices.ContainsFunc([]syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM},
		func(e syscall.Errno) bool { return errors.Is(err, e) })
}

// reachable reports whether the socket's file still exists. Without the file, no process can connect.
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

func (c *collectSocket) serveConn(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	channel, err := link.ReadChannel(conn)
	if err == nil && channel == link.Spool {
		_ = c.server.ServeConn(ctx, conn)
		return
	}
	var dialer *link.Dialer
	if err == nil {
		dialer, err = link.NewDialer(conn)
	}
	if err != nil {
		c.log.Warn("refused a connection on the collect socket, to which only wayside collect may connect", "error", err)
		return
	}
	c.peers.connected(0, dialer)
	_, _ = io.Copy(io.Discard, conn) // the books process sends nothing, so this returns when that process ends
	c.peers.disconnected(dialer)
}
