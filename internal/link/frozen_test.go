package link

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDialToAPeerThatStandsStill: a peer that takes no connections costs each dial a bounded wait, and leaves nothing behind.
func TestDialToAPeerThatStandsStill(t *testing.T) {
	mine, theirs, err := Pair("control")
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	defer theirs.Close()
	raw, err := mine.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1) }) //nolint:gosec // a descriptor
	d, err := NewDialer(mine)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for n := 0; ; n++ {
		conn, err := d.DialContext(ctx, "", "")
		if err != nil {
			break
		}
		_ = conn.Close()
		if n > 10_000 {
			t.Fatal("it takes any number of connections")
		}
	}
	if ctx.Err() != nil {
		t.Error("a dial waits without end")
	}
}
