package admin

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/internal/connlimit"
	"github.com/wayside-proxy/wayside/internal/dashboard"
	"github.com/wayside-proxy/wayside/internal/query"
)

// request is one request to the admin or the probes listener.
type request struct {
	s       *Server
	ctx     *fasthttp.RequestCtx
	running context.Context // is done when the listener is closed
	probes  bool            // whether the request came in on the probes listener

	host  string
	path  string // decoded
	query string // query string as received
	uri   string // path and query, for the books process
}

// route holds the handlers of a path: for GET and HEAD, and for POST.
type route struct {
	get, post  func(*request)
	parameters []string // parameters that are accepted in the query; nil accepts any, because probes may add parameters
}

var none = []string{}

// routes lists the paths that this process serves itself.
var routes = map[string]route{
	"/livez":             {get: (*request).livez},
	"/readyz":            {get: (*request).readyz},
	"/metrics":           {get: (*request).metrics},
	"/snapshot":          {get: (*request).snapshot, parameters: none},
	"/snapshots":         {get: (*request).snapshot, parameters: none},
	"/api/v1/accounting": {get: (*request).accounting, parameters: none},
	"/api/v1/upstreams":  {get: (*request).upstreams, parameters: none},
	"/api/v1/verify":     {post: (*request).verify, parameters: []string{"local"}},
	"/-/reload":          {post: (*request).reload, parameters: none},
	"/-/forget":          {post: (*request).forget, parameters: none},
	"/-/backup":          {post: (*request).backup, parameters: none},
}

// handle handles a request. It recovers from a panic and responds with 500, because the process would end otherwise.
func (q *request) handle() {
	defer func() {
		if fault := recover(); fault != nil {
			q.s.opt.Logger.Error("panic while handling a request to the admin listener", "panic", fault)
			q.ctx.Response.Reset()
			protect(&q.ctx.Response)
			refuse(&q.ctx.Response, fasthttp.StatusInternalServerError, "the request failed; the log says why")
		}
	}()
	protect(&q.ctx.Response)
	if q.parse() && q.welcome() && q.authorized() {
		q.answer()
	}
}

// parse parses the target of the request as net/http does. The results must be the same, because the books process uses net/http.
func (q *request) parse() bool {
	target := q.ctx.Request.Header.RequestURI()
	q.host = string(q.ctx.Request.Header.Host())
	if target[0] == '/' && !bytes.ContainsAny(target, "%?#") {
		q.path = string(target)
		q.uri = q.path
	} else {
		u, err := url.ParseRequestURI(string(target))
		if err != nil || !strings.HasPrefix(u.Path, "/") {
			refuse(&q.ctx.Response, fasthttp.StatusBadRequest, "the path of the request is not valid")
			return false
		}
		q.path, q.query, q.uri = u.Path, u.RawQuery, u.RequestURI()
		if u.Host != "" {
			q.host = u.Host
		}
	}
	return true
}

// welcome reports whether the request may be handled. It rejects requests that a browser sent on behalf of another website.
func (q *request) welcome() bool {
	resp := &q.ctx.Response
	if q.probes {
		return true // everyone may see these responses, under any host name
	}
	if !hostAllowed(q.host, q.s.opt.Hosts) {
		refuse(resp, fasthttp.StatusMisdirectedRequest, "this listener does not serve the host name "+q.host+
			"; use its address or add the name to admin.hosts")
		return false
	}
	reads := q.reads() || q.ctx.IsOptions()
	if (!reads || q.under("/api/") || q.under("/debug/")) && q.foreign() {
		refuse(resp, fasthttp.StatusForbidden, "refused, because a browser sent this request for another website")
		return false
	}
	return true
}

// foreign reports whether the request comes from a page of another origin, according to the fields that browsers add.
func (q *request) foreign() bool {
	switch site := q.ctx.Request.Header.Peek("Sec-Fetch-Site"); string(site) {
	case "":
	case "same-origin", "none":
		return false
	default:
		return true
	}
	origin := q.ctx.Request.Header.Peek("Origin")
	if len(origin) == 0 {
		return false
	}
	u, err := url.Parse(string(origin))
	return err != nil || u.Host == "" || !strings.EqualFold(u.Host, q.host)
}

func (q *request) under(prefix string) bool {
	return strings.HasPrefix(q.path, prefix) || strings.HasPrefix(path.Clean(q.path)+"/", prefix)
}

// gone returns a channel that is closed when the connection is evicted to make room for another one.
func (q *request) gone() <-chan struct{} {
	if c, ok := q.ctx.Conn().(*connlimit.Conn); ok {
		return c.Aborted()
	}
	return nil
}

func (q *request) reads() bool { return q.ctx.IsGet() || q.ctx.IsHead() }

// hostAllowed prevents DNS rebinding. A website can make its own name resolve to a loopback address, but the browser then sends that name
// in the Host field. So only addresses, "localhost" and configured names are allowed there.
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

// answer calls the handler of the path, or relays the request.
func (q *request) answer() {
	resp := &q.ctx.Response
	r, known := q.route()
	switch {
	case !known && q.probes:
		refuse(resp, fasthttp.StatusNotFound, "this address only serves GET /livez, /readyz and /metrics; everything else is on admin.listen")
	case q.under(InternalPrefix):
		refuse(resp, fasthttp.StatusNotFound, "no such page")
	case !known:
		q.relay()
	case !q.understood(r.parameters):
	case q.reads() && r.get != nil:
		r.get(q)
	case q.ctx.IsPost() && r.post != nil:
		r.post(q)
	case r.get == nil:
		q.refuseMethod("POST")
	default:
		q.refuseMethod("GET, HEAD")
	}
}

// understood rejects parameters that the path does not accept. If they were ignored, the response would not be what the client requested.
func (q *request) understood(parameters []string) bool {
	if parameters == nil || q.query == "" {
		return true
	}
	_, err := query.Parse(q.query, parameters...)
	if err != nil {
		refuse(&q.ctx.Response, fasthttp.StatusBadRequest, err.Error())
	}
	return err == nil
}

func (q *request) refuseMethod(allowed string) {
	q.ctx.Response.Header.Set("Allow", allowed)
	refuse(&q.ctx.Response, fasthttp.StatusMethodNotAllowed, "this path only accepts "+allowed)
}

// route returns this process's handlers for the path of the request.
func (q *request) route() (route, bool) {
	r, known := routes[q.path]
	switch {
	case q.probes:
		return r, known && (q.path == "/livez" || q.path == "/readyz" || q.path == "/metrics")
	case known:
		return r, (q.path != "/api/v1/verify" || q.s.opt.Verify != nil) && (q.path != "/-/forget" || q.s.opt.Forget != nil) &&
			(q.path != "/-/backup" || q.s.opt.Backup != nil)
	case strings.HasPrefix(q.path, "/snapshot/"):
		return routes["/snapshot"], true
	case dashboard.Has(q.path):
		return route{get: (*request).dashboard}, true
	case q.under("/debug/pprof/"):
		return route{get: (*request).profiles, post: (*request).profiles}, true
	}
	return route{}, false
}

// snapshot serves snapshots from memory.
func (q *request) snapshot() {
	q.answerFile(q.s.opt.Snapshots(q.path, q.field(fasthttp.HeaderIfNoneMatch), q.field(fasthttp.HeaderAcceptEncoding)))
}

// dashboard serves the files of the dashboard, so the page loads even while the books process is not running.
func (q *request) dashboard() {
	q.answerFile(dashboard.Serve(q.path, q.field(fasthttp.HeaderIfNoneMatch), q.field(fasthttp.HeaderAcceptEncoding)))
}

// answerFile sends bytes that nothing may modify.
func (q *request) answerFile(status int, fields [][2]string, body []byte) {
	resp := &q.ctx.Response
	resp.SetStatusCode(status)
	for _, field := range fields {
		resp.Header.Set(field[0], field[1])
	}
	if status != http.StatusNotModified {
		resp.SetBodyRaw(body)
	}
}

// field returns the values of a field, joined with commas.
func (q *request) field(name string) string {
	first := q.ctx.Request.Header.Peek(name)
	if len(first) == 0 {
		return ""
	}
	if all := q.ctx.Request.Header.PeekAll(name); len(all) > 1 {
		return string(bytes.Join(all, []byte(",")))
	}
	return string(first)
}

// parameter returns the value of a query parameter, and whether there is one.
func (q *request) parameter(name string) (string, bool) {
	values, _ := url.ParseQuery(q.query)
	return values.Get(name), values.Has(name)
}

func (q *request) verbose() bool {
	_, has := q.parameter("verbose")
	return has
}
