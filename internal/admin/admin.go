// Package admin is the front of the admin endpoint in the traffic process: health, metrics, the latest snapshot and the
// accounting are answered here, from memory; everything else is relayed to the books process, with 503 and a reason while that
// is away.
//
// Nothing here may depend on disk, archive or books: their trouble shows in /readyz?verbose, /metrics and the log, and
// never fails /livez or /readyz, because taking an application out of service over its books would break the first
// promise. For the same reason everything that a client can send, ask for or leave unread is bounded (limits.go), and
// /livez and /readyz wait for nothing.
//
// The server is fasthttp's (ADR 62). A request whose answer takes time has its connection taken over (takeover.go): then the
// end of the client ends the work.
package admin

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/internal/connlimit"
)

// InternalPrefix begins the paths that only the traffic process asks the books process for; nobody else gets through.
const InternalPrefix = "/internal/"

// Options configures a Server.
type Options struct {
	// Token, if not empty, is required as "Authorization: Bearer TOKEN", or as the password of Basic, for all but /livez
	// and /readyz, and for the details of what the probes listener answers.
	Token string
	// Hosts lists names by which the listener may be addressed besides addresses and "localhost"; see hostAllowed.
	Hosts []string
	// Accounting composes the figures of GET /api/v1/accounting; its result is answered as JSON.
	Accounting func(ctx context.Context) (any, error)
	// Verify checks the promises of a data directory in use and answers POST /api/v1/verify, one request at a time; local
	// leaves the archive out. nil: there is no such thing.
	Verify func(ctx context.Context, local bool) (any, error)
	// Snapshots answers GET /snapshot, /snapshot/{version} and /snapshots from this process's memory, given the values of two
	// fields of the request. It does not block, and its slices are never written to.
	Snapshots func(path, ifNoneMatch, acceptEncoding string) (status int, fields [][2]string, body []byte)
	// Gatherer holds the traffic process's own metrics.
	Gatherer prometheus.Gatherer
	// Checks are listed by /readyz?verbose.
	Checks []Check
	// Meanwhile says what becomes of responses while no books process is connected; nil: nothing is said of that.
	Meanwhile func() string
	// Reload answers POST /-/reload; its result is answered as JSON, its error with 422.
	Reload func() (any, error)
	// Forget answers POST /-/forget: the body says which paths, its result is answered as JSON. nil: there is no such thing.
	Forget func(ctx context.Context, body []byte) (any, error)
	// Profiles adds /debug/pprof/, which is not there otherwise.
	Profiles bool
	Logger   *slog.Logger
}

// Check is one line of /readyz?verbose.
type Check struct {
	Name string
	// State returns whether all is well and a short text. It returns within a second.
	State func() (ok bool, detail string)
}

// Server answers the admin endpoint.
type Server struct {
	opt       Options
	ready     atomic.Bool
	books     booksPeer
	metrics   metrics
	checks    shared[[]checked]
	relays    chan struct{} // held by each connection that is relayed
	work      chan struct{} // held by each request that takes time
	verifying atomic.Bool
	tokens    wrongTokens
}

// New returns a Server; it listens nowhere until Serve.
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

// SetReady switches /readyz between 200 and 503; it starts as 503.
func (s *Server) SetReady(ready bool) { s.ready.Store(ready) }

// WrongTokens returns how many requests had a token that is not the configured one.
func (s *Server) WrongTokens() uint64 { return s.tokens.count.Load() }

// Serve answers everything on ln until ctx is done, then lets running requests finish for at most grace. See limits.go for
// what is bounded.
func (s *Server) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	return s.serve(ctx, ln, grace, adminLimits)
}

// ServeProbes answers /livez, /readyz and /metrics on ln to everyone, without details for those who do not have the token.
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
	_ = server.ShutdownWithContext(stop) // what is left after grace is cut
	bounded.Drain(stop)
	cancel()
	bounded.Abort()
	return <-done
}

// httpServer returns a server for one listener. Requests whose connection was taken over end with running.
func (s *Server) httpServer(running context.Context, l limits) *fasthttp.Server {
	return &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			q := request{s: s, ctx: ctx, running: running, probes: l.probes}
			q.handle()
		},
		ErrorHandler: refuseMalformed,
		Logger:       quietLogger{s.opt.Logger},
		// More than connections, so that it never refuses one: a worker may end after its connection.
		Concurrency:    2 * l.connsMax,
		ReadBufferSize: l.headerBytesMax, WriteBufferSize: 32 << 10,
		MaxRequestBodySize: l.bodyBytesMax,
		ReadTimeout:        readTimeout, IdleTimeout: l.idleTimeout, WriteTimeout: writeTimeout,
		NoDefaultServerHeader: true, NoDefaultContentType: true, SecureErrorLogMessage: true,
		DisablePreParseMultipartForm: true, CloseOnShutdown: true,
	}
}

// quietLogger is for what the server says about clients: it is their affair.
type quietLogger struct{ log *slog.Logger }

func (q quietLogger) Printf(format string, args ...any) {
	q.log.Debug("admin listener", "detail", slog.AnyValue(lazy{format, args}))
}
