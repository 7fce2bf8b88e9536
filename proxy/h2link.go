package proxy

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

// h2Link is a connection to a server that speaks HTTP/2. It is shared by the calls of many clients. One task reads frames and never waits
// for a call; another one sends the output of all calls. Both run on the driver that dialed the connection. Calls may come from any
// driver. Fields are guarded by mu unless their comment says otherwise. A task that holds mu must not wait, and must not lock links.mu.
type h2Link struct {
	*upstreamConn // the connection; not guarded
	links         *h2Links

	mu      sync.Mutex
	m       *http2.Conn
	open    map[*h2Call]struct{} // the calls that have a place, including those that have not begun a stream yet
	most    int                  // maximum number of calls; lowered until the next tick when the server refuses one
	retired bool                 // no further calls begin
	failed  bool                 // the connection is lost
	shut    bool                 // the connection will be closed as soon as the output has been sent

	begun     int64 // when the connection was established, in sweeper time like the next two fields
	heard     int64 // when the last bytes arrived
	pinged    int64 // when the outstanding PING was sent; 0 if there is none
	idleSince int64
	pause     time.Duration // how long the server may be silent before the next PING

	flushing  bool   // flush is running or will run soon
	spare     []byte // a buffer for output
	flushTask func() // the method flush; not guarded
}

const (
	// h2StreamsMax is the maximum number of calls that share a connection, even if the server allows more.
	h2StreamsMax = 256
	// settleTimeout is the time within which a server must send its SETTINGS.
	settleTimeout = 10 * time.Second
	// pingPause is how long a server may be silent, while calls are waiting, before it is sent a PING. The pause becomes longer each time, up to
	// pingPauseMax, because gRPC servers close connections on which they receive more than a few PINGs.
	pingPause    = 15 * time.Second
	pingPauseMax = 5 * time.Minute
	// pingTimeout is the time within which the server must acknowledge a PING.
	pingTimeout = 15 * time.Second
)

// place reserves a place for a client's call. It returns nil if there is none.
func (l *h2Link) place(d driver, client *clientConn) *h2Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired || !l.m.CanOpen() || len(l.open) >= l.room() {
		return nil
	}
	c := &h2Call{l: l, client: client, h2Waits: h2Waits{mu: &l.mu, driver: d}}
	l.open[c] = struct{}{}
	return c
}

// room returns the maximum number of calls. It is one until the server's SETTINGS have arrived. The caller must hold mu.
func (l *h2Link) room() int {
	if !l.m.Settled() {
		return 1
	}
	return min(l.m.StreamsMax(), l.most)
}

// unsettled reports whether more places can be expected soon.
func (l *h2Link) unsettled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.retired && !l.m.Settled()
}

// ended frees the place of a call. The caller must hold mu.
func (l *h2Link) ended(c *h2Call) {
	delete(l.open, c)
	if len(l.open) == 0 {
		l.idleSince = l.links.now()
		l.spare = nil // idle connections keep no buffer
		if l.retired {
			l.close()
		}
	}
	l.flushSoon()
}

// refused makes later calls use other connections until the next tick. The caller must hold mu.
func (l *h2Link) refused() { l.most = max(len(l.open)-1, 1) }

// serve reads frames until the connection ends.
func (l *h2Link) serve() {
	defer l.links.remove(l)
	defer func() {
		if r := recover(); r != nil {
			l.links.options().Logger.Warn("panic on an HTTP/2 connection to a server; closing it", "value", r, "stack", string(debug.Stack()))
			l.lose(errLinkLost)
		}
	}()
	loan := h2Buffers.Get().(*[]byte)
	defer h2Buffers.Put(loan)
	buf := *loan
	for n := 0; ; {
		got, err := l.Conn.Read(buf[n:])
		used, failed := l.take(buf[:n+got])
		n = copy(buf, buf[used:n+got])
		switch {
		case failed != nil:
			l.links.options().Logger.Warn("closing an HTTP/2 connection to a server that breaks the protocol", "upstream", l.RemoteAddr().String(), "error", failed)
			l.lose(fmt.Errorf("%w: %w", errLinkLost, failed))
			return
		case err != nil:
			l.lose(fmt.Errorf("%w: %w", errLinkLost, err))
			return
		}
	}
}

// take passes bytes to the state machine.
func (l *h2Link) take(b []byte) (used int, err error) {
	used, settled, err := l.advance(b)
	if settled > 0 {
		l.links.settled(settled)
	}
	return used, err
}

// advance passes bytes to the state machine. If they contain the server's SETTINGS, settled is how many calls may use the connection.
func (l *h2Link) advance(b []byte) (used, settled int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock() // even after a panic, because lose needs the lock
	l.heard = l.links.now()
	for {
		ev, n, failed := l.m.Next(b[used:], time.Duration(l.heard))
		used += n
		if err = failed; failed != nil || ev.Kind == http2.EventNone {
			break
		}
		if ev.Kind == http2.EventSettings {
			settled = max(min(l.m.StreamsMax(), h2StreamsMax), 1)
		}
		l.event(ev)
	}
	l.flushSoon()
	return used, settled, err
}

// event handles an event. The caller must hold mu.
func (l *h2Link) event(ev http2.Event) {
	var c *h2Call
	if ev.Stream != nil {
		c = ev.Stream.Value.(*h2Call)
		l.pause = l.links.pause
	}
	switch ev.Kind {
	case http2.EventResponse:
		c.receiveHead(ev.Stream.Head, ev.End)
	case http2.EventData:
		c.receive(ev.Data, ev.End)
	case http2.EventTrailers:
		c.receive(nil, true)
	case http2.EventReset:
		c.wasReset(ev.Code)
	case http2.EventWindow:
		if c != nil {
			c.wake(&c.writer)
			return
		}
		for c := range l.open {
			c.wake(&c.writer)
		}
	case http2.EventSettings:
		for c := range l.open {
			c.wake(&c.writer) // it may be waiting for the settings
		}
	case http2.EventGoAway:
		l.goneAway()
	case http2.EventPong:
		l.pinged = 0
	}
}

// goneAway ends the calls that the server will not process. The others continue. The caller must hold mu.
func (l *h2Link) goneAway() {
	l.retired = true
	for c := range l.open {
		if c.s == nil || c.s.ID > l.m.PeerLast() {
			c.lose(errUnprocessed)
		}
	}
	if len(l.open) == 0 {
		l.close()
	}
}

// retire prevents further calls. The connection is closed when the last call has ended.
func (l *h2Link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	if len(l.open) == 0 {
		l.close()
	}
}

// close sends GOAWAY and closes the connection. The caller must hold mu.
func (l *h2Link) close() {
	if !l.shut {
		l.retired, l.shut = true, true
		l.m.Leave()
		l.flushSoon()
	}
}

// lose ends the connection, and the calls that are not complete.
func (l *h2Link) lose(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	for c := range l.open {
		c.lose(err)
	}
	l.close()
}

// tick is called regularly. It sends a PING to a silent server, and closes a connection that has not been used for idleFor.
func (l *h2Link) tick(idleFor time.Duration) {
	now := l.links.now()
	since := func(at int64) time.Duration { return time.Duration(now - at) }
	l.mu.Lock()
	silent := !l.m.Settled() && since(l.begun) > settleTimeout || l.pinged != 0 && since(l.pinged) > l.links.patience
	switch l.most = h2StreamsMax; {
	case l.shut:
		silent = since(l.idleSince) > settleTimeout // the server is not reading the rest of the output
	case len(l.open) == 0 && idleFor > 0 && since(l.idleSince) > idleFor:
		l.close()
	case len(l.open) > 0 && l.pinged == 0 && since(l.heard) > l.pause:
		l.pinged, l.pause = now, min(4*l.pause, pingPauseMax)
		l.m.Ping()
		l.flushSoon()
	}
	l.mu.Unlock()
	if silent {
		l.lose(fmt.Errorf("%w: it does not respond to PING", errLinkLost))
		_ = l.Conn.Close()
	}
}

// flushSoon schedules flush, so that a single write can send the output of all tasks that are ready now. The caller must hold mu.
// Any goroutine may call it.
func (l *h2Link) flushSoon() {
	if !l.flushing && !l.failed && (l.m.Pending() > 0 || l.shut) {
		l.flushing = true
		l.driver.post(l.flushTask)
	}
}

// flush sends the collected output.
func (l *h2Link) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.m.Pending() > 0 && !l.failed {
		out := l.m.TakeOutput(l.spare)
		l.spare = nil
		if err := l.send(out); err != nil {
			l.failed, l.retired = true, true
			for c := range l.open {
				c.lose(fmt.Errorf("%w: %w", errLinkLost, err))
			}
		}
		if cap(out) <= 2*h2QueueBytes {
			l.spare = out
		}
		for c := range l.open {
			c.wake(&c.writer)
		}
	}
	l.flushing = false
	if l.shut || l.failed {
		_ = l.Conn.Close() // ends serve
	}
}

// send writes to the connection. The caller must hold mu, which is unlocked during the write.
func (l *h2Link) send(out []byte) error {
	l.mu.Unlock()
	defer l.mu.Lock()
	_, err := l.Conn.Write(out)
	return err
}
