package connlimit

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serve returns a listener, a function that connects to it, and the connections that it accepts.
func serve(t *testing.T, o Options) (*Listener, func() net.Conn, <-chan *Conn) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(ln, o)
	accepted := make(chan *Conn, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn.(*Conn)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); l.Abort(); <-done })
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	return l, dial, accepted
}

// handle is the server of one connection: it reads until the end and then closes the connection.
func handle(c *Conn) {
	_, _ = io.Copy(io.Discard, struct{ io.Reader }{c})
	_ = c.Close()
}

func ended(conn net.Conn) error {
	_, err := conn.Read(make([]byte, 1))
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestTheLongestIdleGivesWay: if there is no room, a new connection replaces the one that has waited longest, even if
// that one is sending single bytes.
func TestTheLongestIdleGivesWay(t *testing.T) {
	var log bytes.Buffer
	l, dial, accepted := serve(t, Options{Name: "test", Total: 3, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	var clients []net.Conn
	for range 3 {
		clients = append(clients, dial())
		go handle(<-accepted)
	}
	if _, err := io.WriteString(clients[0], "G"); err != nil { // an incomplete request does not restart the wait
		t.Fatal(err)
	}
	waiting := func() (n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for c := range l.conns {
			if c.waiting.Load() {
				n++
			}
		}
		return n
	}
	waitFor(t, "the servers do not wait", func() bool { return waiting() == 3 })
	fourth := dial()
	c := <-accepted
	if err := ended(clients[0]); err != nil {
		t.Errorf("the oldest: %v", err)
	}
	if l.Conns() != 3 {
		t.Errorf("%d connections", l.Conns())
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := fourth.Read(make([]byte, 1)); err != nil {
		t.Errorf("the newcomer: %v", err)
	}
	if said := log.String(); strings.Count(said, "at_most=3") != 1 || !strings.Contains(said, "test listener") {
		t.Errorf("the log: %q", said)
	}
}

// TestWhoIsAnsweredStaysLongest: a connection that is being answered gives way only if no connection is waiting. Among
// several such connections, the one whose client has read nothing for the longest time gives way.
func TestWhoIsAnsweredStaysLongest(t *testing.T) {
	_, dial, accepted := serve(t, Options{Total: 2})
	first := dial()
	busy := <-accepted
	busy.Hold()
	go handle(busy)
	second := dial()
	idle := <-accepted
	go handle(idle)
	waitFor(t, "the second does not wait long enough", func() bool { return idle.idle(time.Now()) })
	third := dial()
	other := <-accepted // not read, so it counts as being answered
	if err := ended(second); err != nil {
		t.Errorf("the idle one: %v", err)
	}
	if _, err := busy.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Errorf("the one that is being answered: %v", err)
	}
	_ = dial()
	waitFor(t, "none gave way", other.cut.Load)
	if busy.cut.Load() {
		t.Error("the one that took something last gave way")
	}
	_ = other.Close() // as its server would do when it notices
	<-accepted
	if err := ended(third); err != nil {
		t.Errorf("the one that took nothing: %v", err)
	}
}

// TestNewcomersMayAsk: a connection that is new does not give way to the next one, but one whose client does not read
// does.
func TestNewcomersMayAsk(t *testing.T) {
	_, dial, accepted := serve(t, Options{Total: 2})
	unread := dial()
	stuck := <-accepted // not read, so it counts as being answered
	_ = dial()
	newcomer := <-accepted
	newcomer.since.Store(time.Now().Add(time.Hour).UnixNano()) // it counts as new, however slow this machine is
	newcomer.waiting.Store(true)
	_ = dial()
	waitFor(t, "none gave way", func() bool { return stuck.cut.Load() || newcomer.cut.Load() })
	if newcomer.cut.Load() {
		t.Error("the newcomer gave way before it could ask")
	}
	_ = stuck.Close() // as its server would do when it notices
	<-accepted
	if err := ended(unread); err != nil {
		t.Errorf("the one that takes nothing: %v", err)
	}
}

// TestPerAddress: an address at its limit loses one of its own connections, and other addresses lose none.
func TestPerAddress(t *testing.T) {
	l, dial, accepted := serve(t, Options{Total: 10, PerAddress: 2})
	var clients []net.Conn
	for range 4 {
		clients = append(clients, dial())
		c := <-accepted
		go handle(c)
		waitFor(t, "it does not wait", c.waiting.Load)
	}
	for _, conn := range clients[:2] {
		if err := ended(conn); err != nil {
			t.Error(err)
		}
	}
	waitFor(t, "it has more than its share", func() bool { return l.Conns() == 2 })
	for _, conn := range clients[2:] {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if err := ended(conn); err == nil {
			t.Error("one of the last two was closed")
		}
		_ = conn.Close()
	}
	waitFor(t, "places are still taken", func() bool { return l.Conns() == 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.from) != 0 {
		t.Errorf("addresses are kept: %v", l.from)
	}
}

// TestUnreadIsDropped: unread bytes use limited memory, and no memory after their connection has given way.
func TestUnreadIsDropped(t *testing.T) {
	l, dial, accepted := serve(t, Options{Total: 1, BufferBytes: 16 << 10, Unread: 10 * time.Second})
	client := dial()
	c := <-accepted
	_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	sent, err := c.Write(make([]byte, 64<<20))
	if err == nil || sent > 16<<20 {
		t.Errorf("%d bytes were taken from the server, %v", sent, err)
	}
	_ = c.Close()
	if l.Conns() != 0 {
		t.Error("its place is still taken")
	}
	if _, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client reads to the end: %v", err)
	}
}

func TestAddressOf(t *testing.T) {
	for given, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%lo": "fe80::/64",
	} {
		conn := at{net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(given), 1))}
		if got := addressOf(conn).String(); got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
}

type at struct{ remote net.Addr }

func (a at) RemoteAddr() net.Addr           { return a.remote }
func (at) LocalAddr() net.Addr              { return nil }
func (at) Read([]byte) (int, error)         { return 0, io.EOF }
func (at) Write([]byte) (int, error)        { return 0, io.EOF }
func (at) Close() error                     { return nil }
func (at) SetDeadline(time.Time) error      { return nil }
func (at) SetReadDeadline(time.Time) error  { return nil }
func (at) SetWriteDeadline(time.Time) error { return nil }
