package proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/proxy/loop"
	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// driver runs the code that serves connections, and waits for their sockets. The code is the same with each driver: it reads and writes
// as if these operations blocked. With goroutines, each connection has its own goroutine, and the Go runtime waits for the sockets. With
// event loops, many connections share a goroutine, so that no thread has to be woken for each message (package loop).
type driver interface {
	// run runs fn concurrently with the caller.
	run(fn func())
	// post runs fn soon, after all code that is already runnable. Unlike run, it may be called by code that the driver does not run.
	post(fn func())
	// signal returns a new signal for code that this driver runs.
	signal() signal
	// block runs fn, which may block for a long time, and waits until it returns.
	block(fn func())
	// dial connects to an upstream.
	dial(to *target) (net.Conn, error)
	// index returns the position of the driver in Proxy.drivers.
	index() int
}

// signal is an event that occurs once. Any goroutine may set it, and one caller may wait for it.
type signal interface {
	Set()
	// Wait waits until the signal is set. It waits at most d, or without a limit if d is negative. It reports whether the signal is set.
	Wait(d time.Duration) bool
}

// Driver determines how a [Proxy] waits for I/O on its connections.
type Driver string

// The values of Options.Driver.
const (
	DriverAuto      Driver = "auto"      // event loops
	DriverLoop      Driver = "loop"      // event loops
	DriverGoroutine Driver = "goroutine" // one goroutine per connection
)

// target describes how to connect to a server.
type target struct {
	dial  func(ctx context.Context) (net.Conn, error)
	addr  net.Addr      // the address to which a loop itself can connect; nil if a lookup or a handshake is needed
	limit time.Duration // time limit for a connection attempt by a loop
	plain *target       // the target for connections that must speak HTTP/1.1; often this target itself
}

// newTarget returns the target for an endpoint. The credentials are used if the endpoint uses TLS.
func newTarget(e endpoint, dialer *net.Dialer, credentials *upstream.Credentials) *target {
	t := &target{limit: dialer.Timeout}
	t.plain = t
	t.dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, e.network, e.address) }
	if e.tls {
		t.dial = tlsDial(e, dialer, func() *tls.Config { return credentials.Config(e.serverName(), true) })
		t.plain = &target{limit: t.limit, dial: tlsDial(e, dialer, func() *tls.Config { return credentials.Config(e.serverName(), false) })}
		return t
	}
	if e.network == "unix" {
		t.addr = &net.UnixAddr{Name: e.address, Net: e.network}
	} else if at, err := netip.ParseAddrPort(e.address); err == nil {
		t.addr = net.TCPAddrFromAddrPort(at)
	}
	return t
}

// tlsDial returns the dial function for a server with TLS.
func tlsDial(e endpoint, dialer *net.Dialer, config func() *tls.Config) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		if dialer.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, dialer.Timeout)
			defer cancel()
		}
		raw, err := dialer.DialContext(ctx, e.network, e.address)
		if err != nil {
			return nil, err
		}
		return dialTLS(ctx, raw, config())
	}
}

// goroutines is the driver that uses goroutines and leaves waiting to the Go runtime.
type goroutines struct{}

func (goroutines) run(fn func())                     { go fn() }
func (goroutines) signal() signal                    { return make(chanSignal) }
func (goroutines) block(fn func())                   { fn() }
func (goroutines) dial(to *target) (net.Conn, error) { return to.dial(context.Background()) }
func (goroutines) index() int                        { return 0 }

// post starts a goroutine. Without Gosched, it would be the next one to run on this processor.
func (goroutines) post(fn func()) {
	go func() {
		runtime.Gosched()
		fn()
	}()
}

// chanSignal is a signal that consists of a channel, which Set closes.
type chanSignal chan struct{}

func (s chanSignal) Set() { close(s) }

func (s chanSignal) Wait(d time.Duration) bool {
	if d < 0 {
		<-s
		return true
	}
	select { // if the time is up but the signal is already set, report the signal
	case <-s:
		return true
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s:
		return true
	case <-timer.C:
		return false
	}
}

// loopDriver is the driver that runs code as tasks of an event loop.
type loopDriver struct {
	*loop.Loop
	place int
}

func (d *loopDriver) run(fn func())   { d.Go(fn) }
func (d *loopDriver) post(fn func())  { d.Post(func() { d.Go(fn) }) }
func (d *loopDriver) signal() signal  { return d.NewSignal() }
func (d *loopDriver) block(fn func()) { d.Block(fn) }
func (d *loopDriver) index() int      { return d.place }

func (d *loopDriver) dial(to *target) (net.Conn, error) {
	if to.addr != nil {
		conn, err := d.Dial(to.addr, to.limit, boundBuffers)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
	var conn net.Conn
	var err error
	d.Block(func() { conn, err = to.dial(context.Background()) }) // a loop must not wait for a lookup or a handshake
	if err != nil {
		return nil, err
	}
	if encrypted, ok := conn.(*tlsConn); ok {
		if err := encrypted.adopt(d.Loop); err != nil {
			return nil, err
		}
		return encrypted, nil
	}
	adopted, err := d.Adopt(conn)
	if err != nil {
		return nil, err
	}
	return adopted, nil
}

// drivers are the drivers of a Proxy. The first one uses goroutines; the others are loops, which share the accepted connections.
type drivers struct {
	all     []driver
	next    atomic.Uint32 // number of connections that loops have received, which determines the next loop
	started atomic.Bool
	running sync.WaitGroup
}

func newDrivers(kind Driver, loops int, log *slog.Logger) (*drivers, error) {
	d := &drivers{all: []driver{goroutines{}}}
	if kind == DriverGoroutine {
		return d, nil
	}
	for i := range loops {
		l, err := loop.New(log)
		if err != nil {
			d.stop()
			return nil, err
		}
		d.all = append(d.all, &loopDriver{Loop: l, place: i + 1})
	}
	return d, nil
}

// start starts the loops, once.
func (d *drivers) start() {
	if d.started.Swap(true) {
		return
	}
	for _, l := range d.loops() {
		d.running.Go(l.(*loopDriver).Run)
	}
}

// stop closes the remaining connections of the loops and waits until the loops have ended.
func (d *drivers) stop() {
	for _, l := range d.loops() {
		l.(*loopDriver).Stop()
	}
	d.start() // so that even a loop that has never run closes its descriptors
	d.running.Wait()
}

func (d *drivers) loops() []driver { return d.all[1:] }

// nextLoop returns the loop whose turn it is to receive a connection.
func (d *drivers) nextLoop() *loopDriver {
	loops := d.loops()
	return loops[int(d.next.Add(1))%len(loops)].(*loopDriver)
}
