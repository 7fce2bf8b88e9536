package link

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// frozen returns a dialer whose peer accepts no connections. thaw returns a listener for the connections that were
// passed to the peer.
func frozen(t *testing.T) (d *Dialer, thaw func() *Listener) {
	t.Helper()
	mine, theirs, err := Pair("control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = mine.Close(), theirs.Close() })
	raw, err := mine.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1) })
	if d, err = NewDialer(mine); err != nil {
		t.Fatal(err)
	}
	return d, func() *Listener {
		conn, err := net.FileConn(theirs)
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewListener(conn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// fill dials until the peer's queue is full.
func fill(t *testing.T, d *Dialer) {
	t.Helper()
	for range 10_000 {
		conn, err := d.DialContext(t.Context(), "", "")
		if errors.Is(err, ErrBusy) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	t.Fatal("it takes any number of connections")
}

// TestDialsToAStoppedPeer: each dial fails within a limited time, although others keep coming, and leaves nothing behind.
func TestDialsToAStoppedPeer(t *testing.T) {
	d, thaw := frozen(t)
	fill(t, d)
	before := descriptors(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 8 { // these keep dialing while one waits
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				short, done := context.WithTimeout(ctx, 100*time.Millisecond)
				if _, err := d.DialContext(short, "", ""); err == nil {
					t.Error("a connection to a stopped peer")
				}
				done()
			}
		})
	}
	for range 3 {
		if _, err := d.DialContext(ctx, "", ""); !errors.Is(err, ErrBusy) {
			t.Errorf("a dial among others: %v", err)
		}
	}
	close(stop)
	others.Wait()
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	l := thaw()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	conn, err := d.DialContext(ctx, "", "")
	if err != nil {
		t.Fatalf("when the peer goes on: %v", err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("when the peer goes on: %v", err)
	}
}

// TestDialHonoursItsContext: a dial ends with its context, and does not affect the next one.
func TestDialHonoursItsContext(t *testing.T) {
	d, thaw := frozen(t)
	fill(t, d)
	for range 20 {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the client left")
		time.AfterFunc(time.Millisecond, func() { cancel(why) })
		if _, err := d.DialContext(ctx, "", ""); !errors.Is(err, why) {
			t.Fatalf("%v", err)
		}
	}
	l := thaw()
	go func() {
		for {
			if conn, err := l.Accept(); err != nil {
				return
			} else {
				_ = conn.Close()
			}
		}
	}()
	if _, err := d.DialContext(t.Context(), "", ""); err != nil {
		t.Error(err)
	}
}

// TestConnectionsAreBounded: while all connections are open, a dial fails after a second; it succeeds after one was closed.
func TestConnectionsAreBounded(t *testing.T) {
	dialer, listener := joined(t)
	go func() {
		for {
			if _, err := listener.Accept(); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	var conns []net.Conn
	for range ConnsMax {
		conn, err := dialer.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if _, err := dialer.DialContext(t.Context(), "", ""); !errors.Is(err, ErrBusy) {
		t.Errorf("one more than there may be: %v", err)
	}
	_, _ = conns[0].Close(), conns[0].Close()
	last, err := dialer.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatalf("when one was closed: %v", err)
	}
	for _, conn := range append(conns[1:], last) {
		_ = conn.Close()
	}
}
