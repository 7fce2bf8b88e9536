package admin

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

type readiness struct{ flag atomic.Bool }

func (r *readiness) set(v bool) { r.flag.Store(v) }

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readyz answers 200 while traffic is taken. With ?verbose it lists the checks, which inform and never decide.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ready := s.ready.flag.Load()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	var out strings.Builder
	if r.URL.Query().Has("verbose") {
		for _, check := range s.opt.Checks {
			ok, detail := check.State()
			sign := '+'
			if !ok {
				sign = '!'
			}
			fmt.Fprintf(&out, "[%c] %s: %s\n", sign, check.Name, detail)
		}
	}
	if ready {
		out.WriteString("ok\n")
	} else {
		out.WriteString("not ready: starting up or shutting down\n")
	}
	_, _ = w.Write([]byte(out.String()))
}
