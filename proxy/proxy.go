package proxy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy is a reverse proxy in front of groups of servers. Create it with New, run it with Serve, and end it with Shutdown.
type Proxy struct {
	sweeper *sweeper
	drivers *drivers
	metrics counters
	watch   watch // owned by the sweeper's goroutine
	streams streams
	tls     tlsState

	passwords *passwords

	current      atomic.Pointer[generation] // the generation for requests that begin now; replaced by Reload
	reloading    sync.Mutex                 // held by Reload
	groupsByName map[string]*group          // guarded by reloading; all current and former groups
	stickyKey    []byte                     // signs cookies

	closing    atomic.Bool
	stop       chan struct{}   // closed to end the sweeper
	stopped    context.Context // canceled to end background work
	cancel     context.CancelFunc
	background sync.WaitGroup
	ending     sync.Once
	begins     sync.Once
	begun      atomic.Bool // Serve has started the goroutines

	dateLine atomic.Pointer[[]byte] // the value of Date for the current second

	silent atomic.Int64 // number of silent uploads
	held   atomic.Int64 // bytes in the buffers of all connections; see share

	mu          sync.Mutex
	conns       map[*clientConn]struct{}  // guarded by mu; includes HTTP/2 streams
	h2streams   int                       // guarded by mu; number of HTTP/2 streams in conns
	badHeaderAt time.Time                 // guarded by mu; when a bad PROXY header was last logged
	listeners   map[*acceptor]struct{}    // guarded by mu
	admission   admission                 // guarded by mu
	servers     map[stateKey]*serverState // guarded by mu; all current and former servers
	gone        []stateKey                // guarded by mu; keys of servers that are no longer used, oldest first
	retired     []*server                 // guarded by mu; servers that are no longer used but still have open connections
}

// cutGrace limits how long a Shutdown that has run out of time, and has cut off the remaining requests, waits until these have been
// recorded.
const cutGrace = time.Second

// New creates a Proxy. It opens no connections and starts no goroutines. Serve starts the goroutines; Shutdown releases what New has
// allocated.
func New(o Options) (*Proxy, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		stop:         make(chan struct{}),
		conns:        make(map[*clientConn]struct{}),
		listeners:    make(map[*acceptor]struct{}),
		servers:      make(map[stateKey]*serverState),
		groupsByName: make(map[string]*group),
		stickyKey:    make([]byte, sha256.Size),
		passwords:    newPasswords(),
	}
	p.admission.p = p
	p.admission.refused = make(map[netip.Addr]failure)
	p.tls.slots = make(chan struct{}, max(o.Loops, 1))
	p.sweeper = newSweeper(p.setDate, o.timeouts()...)
	if p.drivers, err = newDrivers(o.Driver, o.Loops, o.Logger); err != nil {
		return nil, err
	}
	_, _ = rand.Read(p.stickyKey) // never fails
	p.stopped, p.cancel = context.WithCancel(context.Background())
	set, err := newSettings(p, o)
	if err != nil {
		return nil, err
	}
	p.current.Store(&generation{p, set})
	p.tick()
	return p, nil
}

// awaitIdle waits at most cutGrace until the requests whose connections have just been cut off are recorded.
func (p *Proxy) awaitIdle() {
	limit := time.NewTimer(cutGrace)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for p.metrics.inFlight.Load() > 0 {
		select {
		case <-limit.C:
			return
		case <-tick.C:
		}
	}
}

func (p *Proxy) remember(c *clientConn) {
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
}

func (p *Proxy) forget(c *clientConn) {
	p.mu.Lock()
	if c.stream != nil {
		p.admission.removeStream(c)
	}
	delete(p.conns, c)
	p.admission.remove(c)
	if c.share.displaced {
		c.share.displaced = false
		p.admission.displacing--
	}
	p.mu.Unlock()
}
