package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/route"
)

// RouteConditions determine which requests a route matches. See package route.
type RouteConditions = route.Conditions

// HeaderCondition is a condition for a field: one of its lines must have exactly this value.
type HeaderCondition = route.Header

// Route determines what happens to the requests that meet its conditions. Exactly one of To, Redirect and Respond must be set.
type Route struct {
	// Name is recorded with each response. It must be unique and at most 64 bytes long.
	Name string
	// Conditions are compared with the request as the service would receive it: fields that the proxy removes do not count.
	Conditions RouteConditions

	// To are the groups that get the requests, each in proportion to its weight.
	To []RouteTarget
	// Redirect is the target, a URL or a path, of a redirect with status 308, which keeps the method and the body. The request's query is
	// kept unless the target has its own. If the target is a URL without a path, the request's path is also kept.
	Redirect string
	// Respond is a fixed response.
	Respond *RouteResponse

	// StripPrefix is removed from the path if the path begins with it. The rest of the path is forwarded byte for byte.
	StripPrefix string
	// RewriteHost makes the proxy send the host of the server's URL in Host. X-Forwarded-Host contains the host that the client sent.
	RewriteHost bool
	// Allow are the networks whose clients may use the route; others get 403. For a client behind one of TrustedProxies, the address that
	// the trusted proxy reports is used. If Allow is empty, all clients may use the route.
	Allow []netip.Prefix
	// Users are NAME:HASH lines with bcrypt hashes, as "htpasswd -B" writes them. A request needs one of these names and its password (RFC
	// 7617); others get 401. The service also receives the credentials. If Users is empty, no password is needed.
	Users string
	// ResponseTimeout replaces Options.ResponseTimeout unless it is 0. A negative value means no limit.
	ResponseTimeout time.Duration
	// MaxRequestBodyBytes replaces Options.MaxRequestBodyBytes unless it is 0. A negative value means no limit.
	MaxRequestBodyBytes int64
	// RequestFields and ResponseFields change fields. They are applied after those in Options.
	RequestFields, ResponseFields FieldRules
}

// RouteTarget is a group that gets a share of a route's requests.
type RouteTarget struct {
	Group  string // name of the group
	Weight int    // share of the requests, relative to the other targets; 0 means none
}

// RouteResponse is a fixed response. Body must not be changed afterwards.
type RouteResponse struct {
	Status      int // 200 to 599
	ContentType string
	Body        []byte
}

// routeSettings are the settings that a route has for its requests. For requests without a route, they are derived from Options.
type routeSettings struct {
	name            []byte // the name that is recorded; nil if there is none
	requests        http1.RequestOptions
	responseRules   *http1.Rules // may be nil
	responseTimeout time.Duration
	ownTimeout      bool  // responseTimeout is set by the route itself
	maxBody         int64 // 0 means no limit

	targets     []weightedGroup
	total       uint64 // sum of the weights
	turn        counter
	redirect    *redirection
	respond     *ownResponse
	stripPrefix string
	rewriteHost bool
	allow       []netip.Prefix // empty means all clients
	users       *users         // nil if no password is needed
}

// weightedGroup is a group together with the sum of the weights up to and including its own.
type weightedGroup struct {
	name  string
	group *group // set by bind
	until uint64
}

// routing contains the compiled routes of Options.
type routing struct {
	list   *route.List
	routes []*routeSettings // in the order of list
}

// newStandard returns the settings for requests without a route.
func newStandard(o *Options, host []byte) (*routeSettings, error) {
	s := &routeSettings{
		requests:        http1.RequestOptions{UpstreamHost: host, PassFields: o.PassFields, NoVia: o.NoVia},
		responseTimeout: o.ResponseTimeout, maxBody: max(o.MaxRequestBodyBytes, 0),
	}
	var err error
	if s.requests.Rules, err = o.RequestFields.Compile(); err != nil {
		return nil, fmt.Errorf("proxy: request fields: %w", err)
	}
	if s.responseRules, err = o.ResponseFields.Compile(); err != nil {
		return nil, fmt.Errorf("proxy: response fields: %w", err)
	}
	return s, nil
}

// newRouting checks the routes in o. It returns nil if there are none: then everything goes to one group. hosts maps the name of each
// group to the Host for requests that have none. bind must be called afterwards.
func newRouting(o *Options, standard *routeSettings, hosts map[string][]byte) (*routing, error) {
	if len(o.Routes) == 0 {
		return nil, nil
	}
	r := &routing{}
	conditions := make([]route.Conditions, 0, len(o.Routes))
	for i := range o.Routes {
		from := &o.Routes[i]
		s, err := newRouteSettings(from, standard, hosts)
		if err != nil {
			return nil, fmt.Errorf("proxy: route %q: %w", from.Name, err)
		}
		r.routes = append(r.routes, s)
		conditions = append(conditions, from.Conditions)
	}
	var err error
	if r.list, err = route.New(conditions); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return r, nil
}

// bind connects the routes to the groups that are in effect.
func (r *routing) bind(groups []*group) {
	if r == nil {
		return
	}
	for _, s := range r.routes {
		for i := range s.targets {
			t := &s.targets[i]
			t.group = groups[slices.IndexFunc(groups, func(g *group) bool { return g.name == t.name })]
		}
	}
}

func newRouteSettings(from *Route, standard *routeSettings, hosts map[string][]byte) (*routeSettings, error) {
	s := &routeSettings{
		name: []byte(from.Name), requests: standard.requests, stripPrefix: from.StripPrefix, rewriteHost: from.RewriteHost, allow: from.Allow,
		responseTimeout: standard.responseTimeout, maxBody: standard.maxBody,
	}
	if from.ResponseTimeout != 0 {
		s.responseTimeout, s.ownTimeout = from.ResponseTimeout, true
	}
	if from.MaxRequestBodyBytes != 0 {
		s.maxBody = max(from.MaxRequestBodyBytes, 0)
	}
	own, err := from.RequestFields.Compile()
	if err != nil {
		return nil, fmt.Errorf("request fields: %w", err)
	}
	s.requests.Rules = standard.requests.Rules.Then(own)
	if own, err = from.ResponseFields.Compile(); err != nil {
		return nil, fmt.Errorf("response fields: %w", err)
	}
	s.responseRules = standard.responseRules.Then(own)
	if from.StripPrefix != "" && (from.StripPrefix[0] != '/' || strings.HasSuffix(from.StripPrefix, "/")) {
		return nil, fmt.Errorf("prefix %q: must begin with a slash and not end with one", from.StripPrefix)
	}
	if s.users, err = newUsers(from.Users); err != nil {
		return nil, err
	}
	return s, s.setAction(from, hosts)
}

// setAction sets the action of the route.
func (s *routeSettings) setAction(from *Route, hosts map[string][]byte) error {
	for _, t := range from.To {
		if _, known := hosts[t.Group]; !known || t.Weight < 0 {
			return fmt.Errorf("group %q with weight %d: there is no such group, or the weight is negative", t.Group, t.Weight)
		}
		if t.Weight > 0 {
			s.total += uint64(t.Weight)
			s.targets = append(s.targets, weightedGroup{name: t.Group, until: s.total})
		}
	}
	if len(s.targets) > 0 {
		s.requests.UpstreamHost = hosts[s.targets[0].name]
	}
	actions := min(len(s.targets), 1)
	if from.Redirect != "" {
		actions++
		s.redirect = newRedirection(from.Redirect)
	}
	if r := from.Respond; r != nil {
		actions++
		if r.Status < 200 || r.Status > 599 || strings.ContainsAny(r.ContentType, "\r\n\x00") {
			return fmt.Errorf("response with status %d and type %q: the status must be 200 to 599, the type a value of a field", r.Status, r.ContentType)
		}
		s.respond = &ownResponse{status: r.Status, contentType: r.ContentType, body: r.Body}
	}
	if actions != 1 {
		return fmt.Errorf("has %d actions (a group with a weight, a redirect, a response): it needs exactly one", actions)
	}
	return nil
}

// group chooses the group for a request. The groups take turns in proportion to their weights, mixed evenly.
func (s *routeSettings) group() *group {
	if len(s.targets) == 1 {
		return s.targets[0].group
	}
	// Any number of consecutive multiples of the golden ratio, modulo 1, are spread evenly.
	const golden = 0x9E3779B97F4A7C15
	share := uint64(s.turn.Add(1)) * golden >> 32 * s.total >> 32
	for _, t := range s.targets {
		if share < t.until {
			return t.group
		}
	}
	return s.targets[len(s.targets)-1].group
}

// redirection is a compiled Route.Redirect.
type redirection struct {
	target    string
	keepPath  bool
	keepQuery bool
}

func newRedirection(target string) *redirection {
	_, behind, absolute := strings.Cut(target, "://")
	return &redirection{target: target, keepPath: absolute && !strings.ContainsAny(behind, "/?#"), keepQuery: !strings.ContainsAny(target, "?#")}
}

// appendLocation appends the value of Location for a request target whose first strip bytes are removed.
func (r *redirection) appendLocation(dst, target []byte, strip int) []byte {
	dst = append(dst, r.target...)
	path, query := target, []byte(nil)
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		path, query = target[:i], target[i:]
	}
	if r.keepPath && len(path) > 0 && path[0] == '/' {
		if path = path[strip:]; len(path) == 0 {
			dst = append(dst, '/')
		}
		dst = append(dst, path...)
	}
	if r.keepQuery {
		dst = append(dst, query...)
	}
	return dst
}

// redirectStatus is 308: unlike 301 and 302 it keeps the method and the body, and it tells the client to use the new URL from now on.
const redirectStatus = http.StatusPermanentRedirect
