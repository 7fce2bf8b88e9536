package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Proxy is an intermediary in front of one upstream. Make it with New, run it with Serve, end it with Shutdown.
type Proxy struct {
	server  *fasthttp.Server
	sweeper *sweeper
	metrics counters

	lane      atomic.Pointer[lane] // for requests that begin now
	reloading sync.Mutex           // held by Reload

	closing atomic.Bool
	stop    chan struct{} // closed when the sweeper is to end
	ending  sync.Once
	sweeps  sync.Once

	mu      sync.Mutex
	conns   map[*clientConn]struct{} // guarded by mu
	retired []*pool                  // guarded by mu; of earlier configurations, with connections still in use
}

// cutGrace is how long a Shutdown that ran out of time waits for the requests it has cut off.
const cutGrace = time.Second

// New makes a Proxy. It dials nothing and starts nothing.
func New(o Options) (*Proxy, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Proxy{stop: make(chan struct{}), conns: make(map[*clientConn]struct{}), sweeper: newSweeper(o.timeouts()...)}
	set, err := newSettings(o, p.sweeper)
	if err != nil {
		return nil, err
	}
	p.lane.Store(&lane{p, set})
	p.server = p.newServer(&set.o)
	return p, nil
}

// newServer sets fasthttp up to leave messages alone. Its timeouts stay off: clientConn has its own.
func (p *Proxy) newServer(o *Options) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                       p.handle,
		ErrorHandler:                  p.refuse,
		Logger:                        serverLogger{o.Logger},
		ReadBufferSize:                o.MaxHeaderBytes,
		WriteBufferSize:               writeBufferBytes,
		MaxRequestBodySize:            bufferedBodyBytesMax,
		StreamRequestBody:             true,
		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		CloseOnShutdown:               true,
		LazyRequestTime:               true,
		SecureErrorLogMessage:         true,
	}
}

// serverLogger takes what fasthttp has to say about connections. Its arguments may hold bytes of a request, so only the
// format is logged, and only for debugging.
type serverLogger struct{ log *slog.Logger }

// Printf logs the format and leaves the arguments out.
func (l serverLogger) Printf(format string, _ ...any) {
	l.log.Debug("http server", "message", strings.TrimSpace(format))
}

// Serve accepts connections from ln until Shutdown is called, then returns nil; any other end is an error. It may be
// called for several listeners at once. It closes ln.
func (p *Proxy) Serve(ln net.Listener) error {
	if p.closing.Load() {
		_ = ln.Close()
		return nil
	}
	p.sweeps.Do(func() { go p.sweeper.run(p.stop, p.evict) })
	if err := p.server.Serve(listener{ln, p}); err != nil && !p.closing.Load() {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown closes the listeners and the idle connections, lets requests in flight end (their responses carry
// "Connection: close") and returns when all connections are closed. When ctx ends first, the remaining connections are
// closed at once, their responses recorded as far as they got, and ctx's error is returned. A Proxy cannot be used again.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.closing.Store(true)
	err := p.server.ShutdownWithContext(ctx)
	if err != nil {
		p.sweeper.closeAll()
		p.awaitIdle()
	}
	p.lane.Load().pool.close()
	p.ending.Do(func() { close(p.stop) })
	return err
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

// refuse answers what fasthttp's parser rejects. A connection on which nothing was sent gets no answer: there is no
// request to answer.
func (p *Proxy) refuse(ctx *fasthttp.RequestCtx, err error) {
	c, ok := ctx.Conn().(*clientConn)
	if !ok {
		return
	}
	c.failed.Store(true) // the server closes the connection now; a shutdown must not spare it
	if phase(c.phase.Load()) == phaseNew {
		c.muted = true
		return
	}
	x := &c.x
	x.begin(ctx)
	if len(ctx.Request.Header.RawHeaders()) > 0 {
		if err := x.head.parseTarget(ctx.Request.Header.RequestURI(), ctx.Request.Header.Method()); err == nil {
			x.head.host = ctx.Request.Header.Host()
		}
		x.describe()
	} else {
		x.describe()
		x.ev.Method, x.ev.Path, x.ev.Protocol = nil, nil, nil
	}
	x.hasBody = true
	f := parserFailure(err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		f = failRequestTimeout
	}
	x.answer(f)
}

func (p *Proxy) remember(c *clientConn) {
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
}

func (p *Proxy) forget(c *clientConn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}
