package admin

import (
	"net/http/pprof"
	"strings"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/wayside-proxy/wayside/internal/secure"
)

var (
	profileIndex  = fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Index)
	profileCPU    = fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Profile)
	profileTrace  = fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Trace)
	profileSymbol = fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Symbol)
)

// profiles serves the runtime's profiles of this process, below /debug/pprof/. They contain function names and, in goroutine stacks,
// addresses, but no data from requests. The command line is not served, because it may contain secrets.
func (q *request) profiles() {
	resp := &q.ctx.Response
	name, _ := strings.CutPrefix(q.path, "/debug/pprof/")
	switch {
	case !q.s.opt.Profiles:
		refuse(resp, fasthttp.StatusNotFound, "profiles are off: set admin.pprof: true")
		return
	case name == "symbol": // go tool pprof sends its addresses by POST
		profileSymbol(q.ctx)
	case !q.reads():
		q.refuseMethod("GET, HEAD")
	case name == "cmdline":
		refuse(resp, fasthttp.StatusNotFound, "the command line is not shown")
	case name == "profile":
		profileCPU(q.ctx)
	case name == "trace":
		profileTrace(q.ctx)
	default:
		profileIndex(q.ctx)
	}
	for _, field := range secure.Fields {
		resp.Header.Del(field[0]) // net/http/pprof has also set some of these fields
		resp.Header.Set(field[0], field[1])
	}
}
