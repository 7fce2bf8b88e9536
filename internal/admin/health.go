package admin

import (
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"
)

// checked is the result of a Check.
type checked struct {
	name, detail string
	ok           bool
}

// check runs the checks.
func (s *Server) check() []checked {
	out := make([]checked, 0, len(s.opt.Checks))
	for _, c := range s.opt.Checks {
		ok, detail := c.State()
		out = append(out, checked{c.Name, detail, ok})
	}
	return out
}

func (q *request) livez() { answerText(&q.ctx.Response, fasthttp.StatusOK, "ok\n") }

// readyz responds with 200 while wayside accepts traffic. With ?verbose, it also lists the checks, which never affect the status.
// Everyone can see the states of the checks, but only some clients can see the details (see detailed).
func (q *request) readyz() {
	var out strings.Builder
	if q.verbose() {
		list, ok := q.s.checks.get(q.gone())
		if !ok {
			out.WriteString("[!] checks: too many requests for them at the moment\n")
		}
		for _, c := range list {
			sign, detail := '+', "ok"
			if !c.ok {
				sign, detail = '!', "failed"
			}
			if q.detailed() {
				detail = c.detail
			}
			fmt.Fprintf(&out, "[%c] %s: %s\n", sign, c.name, detail)
		}
	}
	status := fasthttp.StatusOK
	if q.s.ready.Load() {
		out.WriteString("ok\n")
	} else {
		status = fasthttp.StatusServiceUnavailable
		out.WriteString("not ready: starting up or shutting down\n")
	}
	answerText(&q.ctx.Response, status, out.String())
}
