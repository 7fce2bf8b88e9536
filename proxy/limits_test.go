package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dialFrom connects from a given address.
func (b *bench) dialFrom(address string) *client {
	b.t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	b.t.Cleanup(func() { _ = conn.Close() })
	return b.client(conn)
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) { //nolint:forbidigo // waits for a condition
		if time.Now().After(end) {
			t.Fatal("never:", what)
		}
	}
}

// TestSilentConnectionsOfOneAddress: one address cannot use all connections: others find room. The address itself finds room when its
// silent connections are closed.
func TestSilentConnectionsOfOneAddress(t *testing.T) {
	b := start(t, echoHead(t), func(o *Options) { o.MaxConns = 30 })
	b.responses = -1
	for range 60 {
		b.dialFrom("127.0.0.2")
	}
	until(t, "a connection is refused", func() bool {
		return b.p.Metrics().Failures["address_connections_max"]+b.p.Metrics().Failures["gave_way"] > 0
	})
	for range 5 {
		if resp, _ := b.dialFrom("127.0.0.3").get("/"); resp.StatusCode != 200 {
			t.Error("another address:", resp.Status)
		}
	}
	until(t, "a silent connection of the same address gives way", func() bool {
		c := b.dialFrom("127.0.0.2")
		if _, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			return false
		}
		resp, err := http.ReadResponse(c.br, nil)
		return err == nil && resp.StatusCode == 200
	})
	if b.p.Metrics().Failures["gave_way"] == 0 {
		t.Error("nothing gave way")
	}
}

// upstreamPeak returns the largest number of connections to the upstream before the first one is closed to make room.
func (b *bench) upstreamPeak() (most int64) {
	b.t.Helper()
	until(b.t, "a connection gives way", func() bool {
		m := b.p.Metrics()
		most = max(most, m.UpstreamConns)
		return m.Failures["gave_way"] > 0
	})
	return most
}

// TestTricklingBodiesOfOneAddress: one address cannot use all upstream connections: connections with slow request bodies are closed.
func TestTricklingBodiesOfOneAddress(t *testing.T) {
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), func(o *Options) {
		o.MaxConnsPerUpstream, o.MaxConnWait = 9, time.Minute
	})
	b.responses = -1
	for range 30 {
		b.dialFrom("127.0.0.2").send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\nx")
	}
	if most := b.upstreamPeak(); most > 6 { // see within
		t.Errorf("one address has %d connections of 9", most)
	}
	for range 3 {
		if resp, _ := b.dialFrom("127.0.0.3").get("/"); resp.StatusCode != 200 {
			t.Error("another address:", resp.Status)
		}
	}
	if n := b.p.Metrics().UpstreamConns; n > 9 {
		t.Errorf("%d connections to the upstream", n)
	}
	for range 3 {
		if resp, _ := b.dialFrom("127.0.0.2").get("/"); resp.StatusCode != 200 {
			t.Error("the same address:", resp.Status)
		}
	}
	if b.p.Metrics().Failures["gave_way"] == 0 || b.p.Metrics().Failures["request_timeout"] == 0 {
		t.Error("nothing gave way:", b.p.Metrics().Failures)
	}
}

// TestUnreadResponsesOfOneAddress: upstream connections whose clients do not read the response are closed, too.
func TestUnreadResponsesOfOneAddress(t *testing.T) {
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		piece := make([]byte, 64<<10)
		for n := 0; r.URL.Path == "/large" && n < 1000; n++ {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}), func(o *Options) { o.MaxConnsPerUpstream, o.MaxConnWait = 6, time.Minute })
	b.responses = -1
	for range 20 {
		b.dialFrom("127.0.0.2").send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	if most := b.upstreamPeak(); most > 4 {
		t.Errorf("one address has %d connections of 6", most)
	}
	for _, address := range []string{"127.0.0.3", "127.0.0.2", "127.0.0.2"} {
		if resp, _ := b.dialFrom(address).get("/"); resp.StatusCode != 200 {
			t.Error(address, resp.Status)
		}
	}
}

// TestUnfinishedHeadersOfOneAddress: endless headers use a limited amount of memory, and one address cannot use all of it.
func TestUnfinishedHeadersOfOneAddress(t *testing.T) {
	const most = 512 << 10
	b := start(t, echoHead(t), func(o *Options) { o.MaxHeldBytes = most })
	b.responses = -1
	large := "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 30000)
	for range 60 {
		_, _ = io.WriteString(b.dialFrom("127.0.0.2").conn, large)
	}
	until(t, "a header is refused", func() bool { return b.p.Metrics().Failures["memory_max"] > 0 })
	for range 3 {
		c := b.dialFrom("127.0.0.3")
		c.send(large + "\r\n\r\n")
		if resp, _ := c.receive("GET"); resp.StatusCode != 200 {
			t.Error("another address:", resp.Status)
		}
		if resp, _ := b.dialFrom("127.0.0.2").get("/"); resp.StatusCode != 200 {
			t.Error("a usual header from the same address:", resp.Status)
		}
	}
	if n := b.p.held.Load(); n > most {
		t.Errorf("%d bytes are held", n)
	}
	if !strings.Contains(b.log.String(), "reason=memory_max") {
		t.Error("the log does not say so:", b.log.String())
	}
	c := b.dialFrom("127.0.0.4") // succeeds only if the memory has been released
	for range 20 {
		c.send(large + "\r\n\r\n")
		if resp, _ := c.receive("GET"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
}

// TestTunnelsLeaveRoom: upgraded connections are not closed to make room, so they may not use all connections.
func TestTunnelsLeaveRoom(t *testing.T) {
	b := start(t, upgradeOrigin(t, func(conn *net.TCPConn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) }), func(o *Options) { o.MaxConns = 16 })
	b.responses = -1
	for i := range 10 {
		c := b.dialFrom(fmt.Sprintf("127.0.1.%d", i+1))
		c.send(upgradeRequest)
		want := http.StatusSwitchingProtocols
		if i >= 8 {
			want = http.StatusServiceUnavailable
		}
		if resp, err := http.ReadResponse(c.br, nil); err != nil || resp.StatusCode != want {
			t.Fatalf("upgrade %d: %v %v, want %d", i, resp, err, want)
		}
		until(t, "it is a tunnel", func() bool { return b.p.streams.count() == min(i+1, 8) })
	}
	for i := range 12 { // upgraded connections stay even if others need room
		b.dialFrom(fmt.Sprintf("127.0.2.%d", 1+i/3))
	}
	for i := range 4 { // on a busy machine, room may be found later than a client waits for it
		until(t, "another client finds room", func() bool {
			resp, _ := b.dialFrom(fmt.Sprintf("127.0.3.%d", 1+i)).get("/")
			return resp.StatusCode == 200
		})
	}
	if n := b.p.streams.count(); n != 8 {
		t.Errorf("%d tunnels are left", n)
	}
}

// TestSilentConnectionsAreDisplaced: however many addresses have silent connections, a client from another address finds room.
func TestSilentConnectionsAreDisplaced(t *testing.T) {
	const most = 64
	b := start(t, echoHead(t), func(o *Options) { o.MaxConns = most })
	b.responses = -1
	kept := b.dialFrom("127.0.0.4")
	for i := range most {
		b.dialFrom(fmt.Sprintf("127.0.1.%d", 1+i/3))
	}
	for i := range 20 {
		if resp, _ := b.dialFrom(fmt.Sprintf("127.0.2.%d", 1+i)).get("/"); resp.StatusCode != 200 {
			t.Errorf("client %d: %s", i, resp.Status)
		}
		if resp, _ := kept.get("/"); resp.StatusCode != 200 {
			t.Error("a client that is served:", resp.Status)
		}
	}
	b.p.mu.Lock()
	conns := b.p.admission.conns
	b.p.mu.Unlock()
	if conns > most || b.p.Metrics().Failures["gave_way"] == 0 {
		t.Errorf("%d connections, %v", conns, b.p.Metrics().Failures)
	}
}

// TestActiveAddressesComeFirst: an address whose connections are active finds room at once, even if every other address has only one
// silent connection.
func TestActiveAddressesComeFirst(t *testing.T) {
	b := start(t, echoHead(t), nil)
	b.responses = -1
	b.dialFrom("127.0.0.2")
	var silent *clientConn
	until(t, "the proxy waits for the silent one", func() bool {
		b.p.mu.Lock()
		defer b.p.mu.Unlock()
		for c := range b.p.conns {
			silent = c
		}
		return silent != nil && silent.waitedFor()
	})
	b.p.mu.Lock()
	defer b.p.admission.unlockAndClose()
	a := &b.p.admission
	a.listedAt = time.Now().Add(time.Hour) // so that the list is not computed again
	a.displaceable = []candidate{{c: silent, phase: phase(silent.phase.Load()), rank: 1}}
	for _, other := range []*account{{conns: 1}, {conns: 2, live: 1, silent: 1}, {conns: 1, silent: 1}} {
		if b.p.admission.displace(other, 100) {
			t.Errorf("%+v takes the only place of another", other)
		}
	}
	if !b.p.admission.displace(&account{conns: 2, live: 2}, 100) || a.displacing != 1 {
		t.Error("an address that uses what it has finds no place")
	}
}

// TestUnsentBytesGoWithTheConnection: unread bytes are discarded with the connection. Otherwise the kernel would keep them for minutes,
// without a limit.
func TestUnsentBytesGoWithTheConnection(t *testing.T) {
	b := start(t, origin(t, func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 64<<10)
		for range 1000 {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}), func(o *Options) { o.WriteTimeout = 100 * time.Millisecond })
	b.responses = -1
	c := b.dialFrom("127.0.0.2")
	c.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
	closed := func() bool {
		b.p.mu.Lock()
		defer b.p.mu.Unlock()
		return len(b.p.conns) == 0
	}
	until(t, "the connection comes", func() bool { return !closed() })
	until(t, "it is closed", closed)
	if _, err := io.Copy(io.Discard, c.conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Error("the client got all that was unsent:", err)
	}
}
