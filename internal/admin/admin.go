// Package admin serves the admin listener and the probes listener of the traffic process. It serves health, metrics, snapshots and the
// accounting itself, from memory. It relays all other requests to the books process (relay.go). While no books process is connected, the
// response to these requests is 503 with a reason.
//
// Problems of the disk, the archive or the books are reported in /readyz?verbose, /metrics and the log. They never make /livez or /readyz
// fail: taking an application out of service because of its books would break wayside's first promise. For the same reason, every
// resource that a client can use is limited (limits.go), and /livez and /readyz never wait.
//
// The server is fasthttp (ADR 62). For a response that takes time, the package takes over the connection from fasthttp (ownconn.go), so
// it can stop working when the client disconnects.
package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/internal/connlimit"
)

// InternalPrefix is the prefix of the paths that the traffic process itself requests from the books process. Requests from clients for
// these paths are never relayed.
const InternalPrefix = "/internal/"

// Options configures a Server.
type Options struct {
	// Token, if not empty, is required as "Authorization: Bearer TOKEN", or as the password of Basic authentication. Without the token, a
	// client can use only /livez, /readyz, and the probes listener, and gets responses without details.
	Token string
	// Hosts lists the names that are allowed in the Host header of a request, in addition to addresses and "localhost" (see hostAllowed).
	Hosts []string
	// Accounting returns the figures for GET /api/v1/accounting. They are sent as JSON.
	Accounting func(ctx context.Context) (any, error)
	// Upstreams returns the groups of servers for GET /api/v1/upstreams. They are sent as JSON.
	Upstreams func() any
	// Verify handles POST /api/v1/verify: it checks whether the data directory in use keeps the promises, one request at a time. If local
	// is set, the archive is not checked. If Verify is nil, the path is relayed.
	Verify func(ctx context.Context, local bool) (any, error)
	// Snapshots handles GET /snapshot, /snapshot/{version} and /snapshots from memory. Its arguments are the path and the values of two
	// header fields. It must not block, and the returned slices must never change.
	Snapshots func(path, ifNoneMatch, acceptEncoding string) (status int, fields [][2]string, body []byte)
	// Gatherer gathers the traffic process's own metrics.
	Gatherer prometheus.Gatherer
	// Checks are listed by /readyz?verbose.
	Checks []Check
	// Meanwhile returns a text that says how responses are recorded while no books process is connected. The text becomes part of the
	// reason in a 503. Meanwhile may be nil.
	Meanwhile func() string
	// Reload handles POST /-/reload. Its result is sent as JSON; an error is sent with status 422.
	Reload func() (any, error)
	// Forget handles POST /-/forget: the body says which paths to forget, and the result is sent as JSON. If Forget is nil, the path is
	// relayed.
	Forget func(ctx context.Context, body []byte) (any, error)
	// Backup handles POST /-/backup, like Forget.
	Backup func(ctx context.Context, body []byte) (any, error)
	// Profiles serves /debug/pprof/.
	Profiles bool
	Logger   *slog.Logger
}

// Check is one line of /readyz?verbose.
type Check struct {
	Name string
	// State reports whether everything is in order, with a short explanation. It must return within a second.
	State func() (ok bool, detail string)
}

// Server serves the admin listener and the probes listener.
type Server struct {
	opt       Options
	ready     atomic.Bool
	books     booksPeer
	metrics   metrics
	checks    shared[[]checked]
	relays    chan struct{} // has one value per relayed connection
	work      chan struct{} // has one value per request that takes time
	verifying atomic.Bool
	tokens    wrongTokens
}

// New returns a Server. It does not listen until Serve or ServeProbes is called.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{
		opt: o, relays: make(chan struct{}, relaysMax), work: make(chan struct{}, workMax),
		books:  booksPeer{answer: answerWait, ping: pingWait},
		tokens: wrongTokens{delay: wrongTokenDelay, log: o.Logger},
	}
	s.metrics.gathering.make, s.checks.make = s.gather, s.check
	return s
}

// SetReady switches the status of /readyz between 200 and 503; initially, it is 503.
func (s *Server) SetReady(ready bool) { s.ready.Store(ready) }

// WrongTokens returns the number of requests with a wrong token.
func (s *Server) WrongTokens() uint64 { return s.tokens.count.Load() }

// Serve serves all paths on ln until ctx is done. Then it waits for the requests in progress, for at most grace. The limits are in
// limits.go.
func (s *Server) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	return s.serve(ctx, ln, grace, adminLimits)
}

// ServeProbes serves /livez, /readyz and /metrics on ln, to everyone. Clients without the token get no details.
func (s *Server) ServeProbes(ctx context.Context, ln net.Listener, grace time.Duration) error {
	return s.serve(ctx, ln, grace, probesLimits)
}

func (s *Server) serve(ctx context.Context, ln net.Listener, grace time.Duration, l limits) error {
	bounded := connlimit.New(ln, l.connections(s.opt.Logger))
	defer bounded.Abort()
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := s.httpServer(running, l)
	done := make(chan error, 1)
	go func() { done <- server.Serve(bounded) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancelStop := context.WithTimeout(running, grace)
	defer cancelStop()
	_ = server.ShutdownWithContext(stop) // requests that are still in progress after grace are cut off
	bounded.Drain(stop)
	cancel()
	bounded.Abort()
	return <-done
}

// httpServer returns a server for one listener. When running is done, requests whose connections have been taken over also end.
func (s *Server) httpServer(running context.Context, l limits) *fasthttp.Server {
	return &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			q := request{s: s, ctx: ctx, running: running, probes: l.probes}
			q.handle()
		},
		ErrorHandler: refuseMalformed,
		Logger:       quietLogger{s.opt.Logger},
		// This is more than the number of connections, so fasthttp never refuses a connection: a worker can outlive its connection.
		Concurrency:    2 * l.connsMax,
		ReadBufferSize: l.headerBytesMax, WriteBufferSize: 32 << 10,
		MaxRequestBodySize: l.bodyBytesMax,
		ReadTimeout:        readTimeout, IdleTimeout: l.idleTimeout, WriteTimeout: writeTimeout,
		NoDefaultServerHeader: true, NoDefaultContentType: true, SecureErrorLogMessage: true,
		DisablePreParseMultipartForm: true, CloseOnShutdown: true,
	}
}

// quietLogger logs the messages of fasthttp at level debug, because they report errors made by clients.
type quietLogger struct{ log *slog.Logger }

func (q quietLogger) Printf(format string, args ...any) {
	if q.log.Enabled(context.Background(), slog.LevelDebug) {
		q.log.Debug("message from the HTTP server of the admin listener", "detail", fmt.Sprintf(format, args...))
	}
}
