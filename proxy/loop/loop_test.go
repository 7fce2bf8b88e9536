//go:build linux

package loop

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// start runs a loop until the test ends.
func start(t *testing.T) *Loop {
	t.Helper()
	l, err := New(slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run()
	}()
	t.Cleanup(func() {
		l.Stop()
		<-done
	})
	return l
}

// pair returns a Conn of the loop and the other end of its connection.
func pair(t *testing.T, l *Loop) (*Conn, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "peer")
	peer, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	c := l.NewConn(fds[0], nil, nil)
	started := make(chan struct{})
	c.Start(func() { close(started) })
	<-started
	return c, peer
}

// task runs fn as a task and waits for it.
func task(l *Loop, fn func()) {
	done := make(chan struct{})
	l.Post(func() {
		l.Go(func() {
			fn()
			close(done)
		})
	})
	<-done
}

func TestEcho(t *testing.T) {
	l := start(t)
	var peers sync.WaitGroup
	for i := range 50 {
		c, peer := pair(t, l)
		l.Post(func() {
			l.Go(func() {
				b := make([]byte, 1000)
				for {
					n, err := c.Read(b)
					if err == nil {
						_, err = c.Write(b[:n])
					}
					if err != nil {
						_ = c.Close()
						return
					}
				}
			})
		})
		peers.Go(func() {
			text := strings.Repeat(fmt.Sprintf("connection %d ", i), 100_000)
			go func() {
				_, _ = io.WriteString(peer, text)
				_ = peer.(*net.UnixConn).CloseWrite()
			}()
			back, err := io.ReadAll(peer)
			if err != nil || string(back) != text {
				t.Errorf("%d bytes back of %d, %v", len(back), len(text), err)
			}
		})
	}
	peers.Wait()
}

func TestDeadline(t *testing.T) {
	l := start(t)
	c, peer := pair(t, l)
	task(l, func() {
		time.AfterFunc(5*time.Millisecond, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = c.SetReadDeadline(time.Time{})
		go func() { _, _ = io.WriteString(peer, "late") }()
		b := make([]byte, 10)
		if n, err := c.Read(b); err != nil || string(b[:n]) != "late" {
			t.Errorf("%q, %v", b[:n], err)
		}
		time.AfterFunc(5*time.Millisecond, func() { _ = c.Close() })
		if _, err := c.Read(b); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestDial(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := start(t)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
		}
	}()
	task(l, func() {
		c, err := l.Dial(ln.Addr(), 0, nil)
		if err != nil {
			t.Error(err)
			return
		}
		b := make([]byte, 5)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Errorf("%q, %v", b, err)
		}
		_ = ln.Close()
		if _, err := l.Dial(ln.Addr(), 0, nil); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
	})
}

func TestSignal(t *testing.T) {
	l := start(t)
	task(l, func() {
		s := l.NewSignal()
		if s.Wait(5 * time.Millisecond) {
			t.Error("is set")
		}
		l.Go(s.Set)
		if !s.Wait(-1) || !s.Wait(0) {
			t.Error("is not set")
		}
		late := l.NewSignal()
		l.Go(func() {
			l.NewSignal().Wait(10 * time.Millisecond)
			go late.Set()
		})
		if !late.Wait(time.Minute) || len(l.timers) != 0 {
			t.Error("is not set, or timers are left", len(l.timers))
		}
	})
}

// unzip decompresses a profile.
func unzip(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestStopWithinARound: Stop may be called while the loop is running posted functions. The loop must then not wait for events again.
func TestStopWithinARound(t *testing.T) {
	l, err := New(slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	l.Post(func() {
		l.closing.Store(true)     // as if the function that Stop posts had already been taken
		l.lastBusy = -2 * busyFor // the loop would now wait without a time limit
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the loop waits for events")
	}
}
