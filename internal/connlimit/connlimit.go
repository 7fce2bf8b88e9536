// Package connlimit bounds the connections of a listener, in all and per address, and keeps it open to newcomers: when there is
// no room, the connection that has waited longest for a request gives way.
//
// A client that sends nothing, half a request, or a byte a second is waiting in this sense, and so is one that is idle between
// requests. A quarter of a second is everybody's, to send a request in. Only when no connection waits is one closed that is being
// answered: the one that has taken nothing for longest.
// The total is strict: a connection counts until the server that got it has closed it. The limit per address may be exceeded
// for as long as a server needs to notice that a connection was closed under it.
package connlimit

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Options are the limits of a Listener.
type Options struct {
	Name       string // of the listener, for the log
	Total      int    // connections at the same time; at least 1
	PerAddress int    // of them from one IPv4 address or IPv6 /64; 0: Total
	// BufferBytes bounds what the kernel holds of what is sent on a connection, and a quarter of it what it holds of what comes;
	// it doubles both for its own use. 0: the kernel's choice, which grows to megabytes for a client that does not read.
	BufferBytes int
	// Unread is how long the kernel keeps what a client does not take once the connection is closed. 0: its choice, minutes.
	Unread time.Duration
	Logger *slog.Logger // nil means slog.Default
}

// Share returns an eighth of the descriptors that the process may have, at least least and at most most: the connections of a
// listener that must not take the traffic's.
func Share(least, most int) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return least
	}
	return int(min(max(limit.Cur/8, uint64(least)), uint64(most)))
}

// Listener is a listener with limits.
type Listener struct {
	net.Listener
	o      Options
	freed  chan struct{} // holds one word of a connection that was closed
	once   sync.Once
	closed chan struct{}
	logged time.Time // of the last warning; owned by who accepts

	mu    sync.Mutex
	conns map[*Conn]struct{}   // until their server has closed them; guarded by mu
	live  int                  // of them, without those that gave way; guarded by mu
	from  map[netip.Prefix]int // live connections of an address; guarded by mu
}

// New returns ln with limits, and sets the buffers of its connections.
func New(ln net.Listener, o Options) *Listener {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Total = max(o.Total, 1)
	if o.PerAddress <= 0 {
		o.PerAddress = o.Total
	}
	l := &Listener{
		Listener: ln, o: o, freed: make(chan struct{}, 1), closed: make(chan struct{}),
		conns: map[*Conn]struct{}{}, from: map[netip.Prefix]int{},
	}
	l.setBuffers()
	return l
}

// setBuffers sets options of the listening socket, which accepted ones inherit. One that the kernel refuses stays as it is.
func (l *Listener) setBuffers() {
	tcp, ok := l.Listener.(*net.TCPListener)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if l.o.BufferBytes > 0 {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, l.o.BufferBytes)
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, l.o.BufferBytes/4)
		}
		if l.o.Unread > 0 {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(l.o.Unread.Milliseconds()))
		}
	})
}

// retryWait is the pause after an accept that failed, and between two connections that give way.
const retryWait = 50 * time.Millisecond

// Accept returns the next connection, a *Conn, once there is room for it. Errors that pass, such as too many open files, are
// waited out; the only error is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err == nil {
			c := &Conn{Conn: raw, from: addressOf(raw), of: l, aborted: make(chan struct{})}
			c.since.Store(time.Now().UnixNano())
			if l.admit(c) {
				return c, nil
			}
			_ = raw.Close()
			return nil, net.ErrClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, net.ErrClosed
		}
		l.warn("cannot accept connections; trying again", "error", err)
		select {
		case <-time.After(retryWait):
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// admit makes room for c. It returns false once the listener is closed.
func (l *Listener) admit(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[c.from] >= l.o.PerAddress {
		l.warn("an address has all the connections that it may have; the longest idle one gives way to each new one",
			"address", c.from.Addr().String(), "at_most", l.o.PerAddress)
		l.giveWay(&c.from)
	}
	for again := false; len(l.conns) >= l.o.Total; again = true {
		if again || l.live >= l.o.Total { // else one is on its way out
			l.warn("all connections are in use; the longest idle one gives way to each new one", "at_most", l.o.Total)
			l.giveWay(nil)
		}
		if !l.waitFreed() {
			return false
		}
	}
	l.conns[c] = struct{}{}
	l.live++
	l.from[c.from]++
	return true
}

// waitFreed waits, without the lock, until a connection was closed, or it is time for another one to give way.
func (l *Listener) waitFreed() bool {
	select {
	case <-l.freed: // of earlier
	default:
	}
	l.mu.Unlock()
	defer l.mu.Lock()
	timer := time.NewTimer(retryWait)
	defer timer.Stop()
	select {
	case <-l.freed:
	case <-timer.C:
	case <-l.closed:
		return false
	}
	return true
}

// giveWay closes the connection that is worth least, of one address or of all. The caller holds mu.
func (l *Listener) giveWay(from *netip.Prefix) {
	var least *Conn
	now := time.Now()
	for c := range l.conns {
		if !c.gone && (from == nil || c.from == *from) && (least == nil || c.worthLess(least, now)) {
			least = c
		}
	}
	if least != nil {
		l.uncount(least)
		least.abort()
	}
}

// uncount takes a connection out of the figures by which others have to give way. The caller holds mu.
func (l *Listener) uncount(c *Conn) {
	if c.gone {
		return
	}
	c.gone = true
	l.live--
	if l.from[c.from]--; l.from[c.from] <= 0 {
		delete(l.from, c.from)
	}
}

// warnEvery is the least time between two lines of the log.
const warnEvery = time.Minute

func (l *Listener) warn(what string, args ...any) {
	now := time.Now()
	if !l.logged.IsZero() && now.Sub(l.logged) < warnEvery {
		return
	}
	l.logged = now
	l.o.Logger.Warn(l.o.Name+" listener: "+what, args...)
}

// Close ends Accept. Connections stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Abort closes all connections at once, without sending what is still to be sent.
func (l *Listener) Abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.abort()
	}
}

// Drain waits until no connection is open, or ctx is done.
func (l *Listener) Drain(ctx context.Context) {
	for l.Conns() > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// Conns is the number of connections that are open, or were closed under a server that has not noticed yet.
func (l *Listener) Conns() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Conn is a connection of a Listener.
type Conn struct {
	net.Conn
	of      *Listener
	from    netip.Prefix
	since   atomic.Int64 // when it came or took something last, Unix nanoseconds
	waiting atomic.Bool  // the server waits for a request, or for the rest of one
	held    atomic.Bool  // see Hold
	cut     atomic.Bool  // closed to make room, or unable to take what was sent
	gone    bool         // gave way, or was closed; guarded by of.mu
	once    sync.Once
	aborted chan struct{} // see Aborted
	abortOf sync.Once
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.held.Load() {
		c.waiting.Store(true)
		defer c.waiting.Store(false)
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.since.Store(time.Now().UnixNano())
	}
	if err != nil {
		c.cut.Store(true) // what is in the kernel's buffer is of no use without the rest
	}
	return n, err
}

// Hold makes the connection count as being answered also while it is read: by who watches whether the client leaves.
func (c *Conn) Hold() {
	c.held.Store(true)
	c.waiting.Store(false)
}

// Aborted is closed when the connection gave way: nobody waits for what its server still does.
func (c *Conn) Aborted() <-chan struct{} { return c.aborted }

// Yield lets the client wait for so long, in which its connection counts as waiting.
func (c *Conn) Yield(d time.Duration) {
	c.Hold()
	c.waiting.Store(true)
	defer c.waiting.Store(false)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.aborted:
	}
}

// grace is the time in which a client that has just connected, or got an answer, may send its next request before its connection
// counts as waiting: in a flood of newcomers nobody else would get as far as to ask.
const grace = 250 * time.Millisecond

// idle reports whether the connection waits, and has done so for longer than grace.
func (c *Conn) idle(now time.Time) bool {
	return c.waiting.Load() && now.UnixNano()-c.since.Load() > int64(grace)
}

func (c *Conn) worthLess(than *Conn, now time.Time) bool {
	if a, b := c.idle(now), than.idle(now); a != b {
		return a
	}
	return c.since.Load() < than.since.Load()
}

// abort closes the connection under its server. What the client has not taken is dropped: it would stay in the kernel's memory.
func (c *Conn) abort() {
	c.cut.Store(true)
	c.abortOf.Do(func() { close(c.aborted) })
	c.dropUnsent()
	_ = c.Conn.Close()
}

func (c *Conn) dropUnsent() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// Close implements net.Conn. It makes room for another connection.
func (c *Conn) Close() error {
	if c.cut.Load() {
		c.dropUnsent()
	}
	err := c.Conn.Close()
	c.once.Do(c.of.remove(c))
	return err
}

func (l *Listener) remove(c *Conn) func() {
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, c)
		l.uncount(c)
		select {
		case l.freed <- struct{}{}:
		default:
		}
	}
}

// addressOf is what a client can have only one of: an IPv4 address, or a /64 of IPv6.
func addressOf(conn net.Conn) netip.Prefix {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits)
	return prefix
}
