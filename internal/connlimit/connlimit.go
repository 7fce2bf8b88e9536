// Package connlimit limits the connections of a listener, in total and per address. It never refuses a new connection: if there is no
// room, it closes the connection that has waited longest for a request.
//
// A connection counts as waiting while the server waits for a request from it: its client sends nothing, has sent only part of a request,
// sends very slowly, or is idle between requests. However, each client first has a quarter of a second (grace) to send a request. If no
// connection is waiting, the Listener closes the one whose client has read nothing for the longest time, although its request is being
// handled.
//
// The total is strict: a connection counts until its server has closed it. The limit per address can be exceeded until the server notices
// that a connection has been closed.
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
	Name       string // name of the listener in log lines
	Total      int    // connections at the same time; at least 1
	PerAddress int    // connections from one IPv4 address or IPv6 /64; 0 means Total
	// BufferBytes limits the kernel's send buffer of a connection; the limit of the receive buffer is a quarter of it. The kernel doubles
	// both for its own use. With small buffers, transfers with large packets, such as those on loopback, stall. 0 means that the kernel
	// chooses the size, up to megabytes for a client that does not read.
	BufferBytes int
	// Unread is the time that the kernel keeps unsent bytes after the connection has been closed. 0 means that the kernel chooses the
	// time, which can be minutes.
	Unread time.Duration
	Logger *slog.Logger // nil means slog.Default
}

// Share returns an eighth of the number of descriptors that the process may have, but within the given limits. A listener that has at
// most that many connections leaves enough descriptors for traffic.
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
	freed  chan struct{} // receives a value when a connection is closed; capacity 1
	once   sync.Once
	closed chan struct{}
	logged time.Time // time of the last warning; owned by the goroutine that accepts connections

	mu    sync.Mutex
	conns map[*Conn]struct{}   // connections that the server has not closed yet; guarded by mu
	live  int                  // number of connections in conns that have not given way; guarded by mu
	from  map[netip.Prefix]int // number of live connections by address; guarded by mu
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

// setBuffers sets options of the listening socket, which accepted sockets inherit. If the kernel rejects an option, its
// default remains.
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

// retryWait is the pause after a failed accept, and between two connections that give way.
const retryWait = 50 * time.Millisecond

// Accept returns the next connection, a *Conn, when there is room for it. After a temporary error, such as too many open files, it tries
// again. The only error that it returns is net.ErrClosed.
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

// admit makes room for c. It returns false if the listener is closed.
func (l *Listener) admit(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[c.from] >= l.o.PerAddress {
		l.warn("an address has reached its limit of connections; closing its longest idle connection for each new one",
			"address", c.from.Addr().String(), "at_most", l.o.PerAddress)
		l.giveWay(&c.from)
	}
	for again := false; len(l.conns) >= l.o.Total; again = true {
		if again || l.live >= l.o.Total { // otherwise, a connection is already being closed
			l.warn("all connections are in use; closing the longest idle connection for each new one", "at_most", l.o.Total)
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

// waitFreed waits, without the lock, until a connection is closed or another one must give way.
func (l *Listener) waitFreed() bool {
	select {
	case <-l.freed: // a value from an earlier close
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

// giveWay closes the least valuable connection of one address or, if from is nil, of all. The caller holds mu.
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

// uncount removes a connection from the counts in live and from. The caller holds mu.
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

// warnEvery is the minimum time between two log lines.
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

// Abort closes all connections immediately and discards unsent bytes.
func (l *Listener) Abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.abort()
	}
}

// Drain waits until no connection is open or ctx is done.
func (l *Listener) Drain(ctx context.Context) {
	for l.Conns() > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// Conns returns the number of connections that their server has not closed yet.
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
	since   atomic.Int64 // when it was accepted or last written to, in Unix nanoseconds
	waiting atomic.Bool  // the server is waiting for a request, or for the rest of one
	held    atomic.Bool  // see Hold
	cut     atomic.Bool  // the connection gave way, or a write failed, so unsent bytes are discarded
	gone    bool         // the connection gave way or was closed; guarded by of.mu
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
		c.cut.Store(true) // the bytes in the kernel's buffer are useless without the rest
	}
	return n, err
}

// Hold marks the connection as not waiting, even while the server reads from it. It is for servers that read only to notice when the client
// disconnects.
func (c *Conn) Hold() {
	c.held.Store(true)
	c.waiting.Store(false)
}

// Aborted returns a channel that is closed when the connection gives way. The server can then stop working on the response.
func (c *Conn) Aborted() <-chan struct{} { return c.aborted }

// Yield delays the response. During the delay, the connection counts as waiting, so it is among the first to give way.
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

// grace is the time that a client may take to send a request, after it has connected or received a response, before its connection counts
// as waiting. Without grace, no client could send a request during a flood of new connections.
const grace = 250 * time.Millisecond

// idle reports whether the connection has been waiting for longer than grace.
func (c *Conn) idle(now time.Time) bool {
	return c.waiting.Load() && now.UnixNano()-c.since.Load() > int64(grace)
}

func (c *Conn) worthLess(than *Conn, now time.Time) bool {
	if a, b := c.idle(now), than.idle(now); a != b {
		return a
	}
	return c.since.Load() < than.since.Load()
}

// abort closes the connection while its server is still using it. It discards unsent bytes, which would otherwise stay
// in the kernel's memory.
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
	c.once.Do(func() { c.of.remove(c) })
	return err
}

// remove removes a connection that its server has closed from the counts, and wakes waitFreed.
func (l *Listener) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.uncount(c)
	select {
	case l.freed <- struct{}{}:
	default:
	}
}

// addressOf returns the network whose connections count as those of one client: an IPv4 address, or an IPv6 /64.
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
