package proxy

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy is an intermediary in front of one upstream. Make it with New, run it with Serve, end it with Shutdown.
type Proxy struct {
	sweeper *sweeper
	metrics counters
	watch   watch // owned by the sweeper's goroutine
	streams streams

	lane      atomic.Pointer[lane] // for requests that begin now
	reloading sync.Mutex           // held by Reload

	closing    atomic.Bool
	stop       chan struct{}   // closed when the sweeper is to end
	stopped    context.Context // done when background work is to end
	cancel     context.CancelFunc
	background sync.WaitGroup
	ending     sync.Once
	sweeps     sync.Once

	dateLine atomic.Pointer[[]byte] // the Date of this second

	held atomic.Int64 // bytes of all connections' buffers, see hold

	mu        sync.Mutex
	conns     map[*clientConn]struct{}  // guarded by mu
	listeners map[net.Listener]struct{} // guarded by mu
	admission admission                 // guarded by mu
	upstreams map[string]*upstream      // guarded by mu; all that there have been
	retired   []*pool                   // guarded by mu; of earlier configurations, with connections still in use
}

// cutGrace is how long a Shutdown that ran out of time waits for the requests it has cut off.
const cutGrace = time.Second

// New makes a Proxy. It dials nothing and starts nothing.
func New(o Options) (*Proxy, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		stop:      make(chan struct{}),
		conns:     make(map[*clientConn]struct{}),
		listeners: make(map[net.Listener]struct{}),
		upstreams: make(map[string]*upstream),
		sweeper:   newSweeper(o.timeouts()...),
	}
	p.stopped, p.cancel = context.WithCancel(context.Background())
	set, err := newSettings(p, o)
	if err != nil {
		return nil, err
	}
	p.lane.Store(&lane{p, set})
	p.tick()
	return p, nil
}

// awaitIdle gives the requests whose connections have just been cut the time to be recorded.
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
	delete(p.conns, c)
	p.admission.leave(c)
	if c.displaced {
		c.displaced = false
		p.admission.leaving--
	}
	p.mu.Unlock()
}
