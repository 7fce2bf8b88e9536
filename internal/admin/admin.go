// Package admin is the front listener of the traffic process: health, metrics, the latest snapshot and the accounting are
// answered here, from memory; everything else is relayed to the books process, with 503 and a reason while that is away.
//
// Nothing here may depend on disk, archive or books: their trouble shows in /readyz?verbose, /metrics and the log, and
// never fails /livez or /readyz, because taking an application out of service over its books would break the first
// promise.
package admin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// InternalPrefix begins the paths that only the traffic process asks the books process for; nobody else gets through.
const InternalPrefix = "/internal/"

// Options configures a Server.
type Options struct {
	// Token, if not empty, is required as "Authorization: Bearer TOKEN", or as the password of Basic, for all but /livez
	// and /readyz.
	Token string
	// Hosts lists names by which the listener may be addressed besides addresses and "localhost"; see hostAllowed.
	Hosts []string
	// Accounting composes the figures of GET /api/v1/accounting; its result is answered as JSON.
	Accounting func(ctx context.Context) (any, error)
	// Verify checks the promises of a data directory in use and answers GET /api/v1/verify; local leaves the archive out.
	Verify func(ctx context.Context, local bool) (any, error)
	// Snapshots answers GET /snapshot, /snapshot/{version} and /snapshots from this process's memory.
	Snapshots http.Handler
	// Latest is what Snapshots answers for GET /snapshot, false while there is nothing. With it that request is answered
	// without net/http; see front.
	Latest func() (Document, bool)
	// Live answers GET /api/v1/live, a stream that tells of each new snapshot, from this process's memory.
	Live http.Handler
	// Gatherer holds the traffic process's own metrics.
	Gatherer prometheus.Gatherer
	// Checks are listed by /readyz?verbose.
	Checks []Check
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
	// State returns whether all is well and a short text. It must not block.
	State func() (ok bool, detail string)
}

// Server answers the admin endpoint.
type Server struct {
	opt   Options
	ready readiness
	relay *relay
}

// New returns a Server; it listens nowhere until Serve.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Server{opt: o, relay: newRelay(o.Logger)}
}

// SetReady switches /readyz between 200 and 503; it starts as 503.
func (s *Server) SetReady(ready bool) { s.ready.set(ready) }

// Handler answers everything; see the contract for the endpoints.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	s.probes(mux)
	mux.Handle("GET /snapshot", s.opt.Snapshots)
	mux.Handle("GET /snapshot/{version}", s.opt.Snapshots)
	mux.Handle("GET /snapshots", s.opt.Snapshots)
	if s.opt.Live != nil {
		mux.Handle("GET /api/v1/live", s.opt.Live)
	}
	mux.HandleFunc("GET /api/v1/accounting", s.accounting)
	if s.opt.Verify != nil {
		mux.HandleFunc("GET /api/v1/verify", s.verify)
	}
	mux.HandleFunc("POST /-/reload", s.reload)
	if s.opt.Forget != nil {
		mux.HandleFunc("POST /-/forget", s.forget)
	}
	mux.HandleFunc(InternalPrefix, http.NotFound)
	if s.opt.Profiles {
		profiling(mux)
	} else {
		mux.HandleFunc("/debug/pprof/", func(w http.ResponseWriter, _ *http.Request) {
			writeError(w, http.StatusNotFound, "profiles are off: set admin.pprof: true")
		})
	}
	mux.Handle("/", s.relay)
	return s.guard(http.NewCrossOriginProtection().Handler(mux))
}

// ProbesHandler answers /livez, /readyz and /metrics only, to everyone.
func (s *Server) ProbesHandler() http.Handler {
	mux := http.NewServeMux()
	s.probes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "this address answers GET /livez, /readyz and /metrics only; the rest is on admin.listen")
	})
	return mux
}

func (s *Server) probes(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /metrics", s.metrics)
}

// Serve answers on ln until ctx is done, then lets running requests finish for at most grace. It has a bounded number of
// connections at a time: an eighth of the descriptors that the process may have, and at most 1,024.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler, grace time.Duration, log *slog.Logger) error {
	return serve(ctx, newPlaces(ln, log), handler, grace, log)
}

func serve(ctx context.Context, ln net.Listener, handler http.Handler, grace time.Duration, log *slog.Logger) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) accounting(w http.ResponseWriter, r *http.Request) {
	figures, err := s.opt.Accounting(r.Context())
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, figures)
}

func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	report, err := s.opt.Verify(r.Context(), r.URL.Query().Get("local") == "true")
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, report)
}

func (s *Server) reload(w http.ResponseWriter, _ *http.Request) {
	changed, err := s.opt.Reload()
	if err != nil {
		writeError(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, changed)
}

// forgetBytesMax bounds the body of POST /-/forget.
const forgetBytesMax = 64 << 10

func (s *Server) forget(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, forgetBytesMax))
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	done, err := s.opt.Forget(r.Context(), body)
	var refused *BooksError
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, done)
	case errors.As(err, &refused):
		writeError(w, refused.Status, refused.Reason)
	default:
		writeError(w, http.StatusServiceUnavailable, err.Error())
	}
}

// guardFields are the fields that the guard sets, on every answer.
var guardFields = []string{"X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options"}

// guard asks for the token where there is one, and refuses foreign Host fields.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		if !hostAllowed(r.Host, s.opt.Hosts) {
			writeError(w, http.StatusMisdirectedRequest, "this listener does not answer to host "+r.Host+
				"; use its address or add the name to admin.hosts")
			return
		}
		probe := r.URL.Path == "/livez" || r.URL.Path == "/readyz"
		if s.opt.Token != "" && !probe && !tokenMatches(r, s.opt.Token) {
			h.Add("WWW-Authenticate", `Bearer realm="wayside"`)
			h.Add("WWW-Authenticate", `Basic realm="wayside: any name, the token as password", charset="UTF-8"`)
			writeError(w, http.StatusUnauthorized, "send the admin token as Authorization: Bearer TOKEN, or as the password of a browser's prompt")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func tokenMatches(r *http.Request, token string) bool {
	given, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		_, given, found = r.BasicAuth() // what a browser can send by itself; see ADR 36
	}
	return found && sameToken([]byte(given), token)
}

func sameToken(given []byte, token string) bool {
	return subtle.ConstantTimeCompare(given, []byte(token)) == 1
}

// hostAllowed holds off DNS rebinding: a page on a foreign name that resolves to a loopback address sends that name as
// Host, so only addresses, "localhost" and configured names are answered.
func hostAllowed(host string, names []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "" || host == "localhost" || slices.Contains(names, host) {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		writeError(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

func writeError(w http.ResponseWriter, status int, reason string) {
	writeJSON(w, status, map[string]string{"error": reason})
}
