package admin

import (
	"net/http"
	"net/http/pprof"
)

// profiling adds the runtime's profiles of this process below /debug/pprof/. They show function names and, in goroutine
// stacks, addresses; no request's data. The command line is left out: it may hold what an operator would rather not show.
func profiling(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol) // go tool pprof sends its addresses
}
