package proxy

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// Group is a group of servers that serve the same requests. Each request goes to one of them.
type Group struct {
	// Name distinguishes the group in metrics, the log and GET /api/v1/upstreams. It may be empty if this is the only group.
	Name string
	// Servers are the servers of the group, at most ServersMax. Either Servers or DNS is required.
	Servers []Server
	// DNS is host:port, https://host:port or h2c://host:port: every address of this name is a server. The name is looked up every
	// ResolveInterval. New addresses are used immediately. An address that is missing from a lookup remains in use until a second
	// lookup confirms that it is gone. If a lookup fails, all addresses remain in use.
	DNS string
	// Balance chooses among the servers. Default RoundRobin.
	Balance Balance
	// StickyCookie is the name of a cookie that keeps a client on one server, for services that keep sessions in memory. If that server is not
	// available, the client gets another server and a new cookie. If the name is empty, there is no cookie.
	StickyCookie string
	// Check configures active health checks.
	Check Check
	// Eject configures when servers whose requests fail are taken out of use.
	Eject Eject
	// Retries is how many times a request may be sent to another server. A request is retried if it could not be sent, if it was not
	// processed, or if it is idempotent, has no body, and no byte of a response has arrived. Once a reserve of 100 retries is spent, at
	// most a fifth of the requests are retried. Default 1, at most RetriesMax; a negative value means no retries.
	Retries int
	// ConnsMax limits the connections to each server. Additional requests wait at most MaxConnWait and then get 503. The default is the
	// server's share of MaxConnsPerUpstream.
	ConnsMax int
	// TLS configures TLS to servers whose URL begins with https.
	TLS UpstreamTLS
}

// UpstreamTLS configures how connections to https servers are encrypted and verified.
type UpstreamTLS = upstream.TLS

// Limits of a [Group].
const (
	ServersMax = 256
	RetriesMax = 10
	WeightMax  = upstream.WeightMax
)

// Server is one server in a [Group].
type Server struct {
	// URL is http://host:port, https://host:port, h2c://host:port or unix:///path/to/socket. A server with https chooses HTTP/2 or HTTP/1.1
	// during the TLS handshake. A server with h2c must speak HTTP/2 without TLS from the beginning.
	URL string
	// Weight is the server's share of the requests, relative to the other weights. Default 1, at most WeightMax. With a negative weight, the
	// server receives only requests from clients that a cookie keeps on it, so that it is gradually drained.
	Weight int
}

// Balance determines how a server is chosen for each request.
type Balance string

// The values of Group.Balance.
const (
	// RoundRobin lets the servers take turns.
	RoundRobin Balance = "round_robin"
	// Least draws two servers at random and takes the one with fewer requests in progress. A slow server then receives fewer requests.
	Least Balance = "least"
)

// Check configures active health checks. Zero means the documented default.
type Check struct {
	// Path is requested with GET. The check passes if a response with a status from 200 to 399 arrives within Timeout. If Path is empty, there
	// are no checks.
	Path string
	// Every is the time between two checks of a server. Default 5s.
	Every time.Duration
	// Timeout limits a check, including the time to connect. Default 2s.
	Timeout time.Duration
	// Fails is the number of consecutive failures after which a server receives no more requests. Passes is the number of consecutive
	// successes after which it receives requests again. The defaults are 3 and 2.
	Fails, Passes int
}

// Eject configures when failed requests take a server out of use. Only failures without a response count, such as refused or reset connections and
// timeouts. Zero means the documented default.
type Eject struct {
	// After is the number of consecutive failures after which a server is ejected. Default 5; a negative value means that no server is ejected.
	After int
	// For is how long the first ejection lasts. Each later one lasts longer, up to ten times as long. Default 30s.
	For time.Duration
	// AtMost is the largest percentage of the servers that may be ejected at the same time. The last usable server is never ejected. Default 50.
	AtMost int
}

func (g Group) withDefaults() Group {
	if g.Balance == "" {
		g.Balance = RoundRobin
	}
	for _, d := range []struct {
		value    *int
		standard int
	}{{&g.Check.Fails, 3}, {&g.Check.Passes, 2}, {&g.Eject.After, 5}, {&g.Eject.AtMost, 50}, {&g.Retries, 1}} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&g.Check.Every, 5 * time.Second}, {&g.Check.Timeout, 2 * time.Second}, {&g.Eject.For, 30 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	g.Retries = min(g.Retries, RetriesMax)
	return g
}

// check validates a group after withDefaults, except for its addresses and files.
func (g *Group) check() error {
	switch {
	case len(g.Servers) == 0 && g.DNS == "":
		return fmt.Errorf("proxy: group %q has no servers", g.Name)
	case len(g.Servers) > 0 && g.DNS != "":
		return fmt.Errorf("proxy: group %q has both servers and a name to look up", g.Name)
	case len(g.Servers) > ServersMax:
		return fmt.Errorf("proxy: group %q has more than %d servers", g.Name, ServersMax)
	case g.Balance != RoundRobin && g.Balance != Least:
		return fmt.Errorf("proxy: group %q: balance %q: must be round_robin or least", g.Name, g.Balance)
	case g.Check.Path != "" && !strings.HasPrefix(g.Check.Path, "/"):
		return fmt.Errorf("proxy: group %q: the path of its checks must begin with a slash", g.Name)
	}
	for _, s := range g.Servers {
		if s.Weight >= 0 {
			return nil
		}
	}
	if g.DNS != "" {
		return nil
	}
	return fmt.Errorf("proxy: group %q: no server has a weight", g.Name)
}

// endpoint is the address of a server.
type endpoint struct {
	network, address string // for net.Dial
	host             string // the host for requests without Host
	tls              bool
	h2c              bool // the server speaks HTTP/2 without TLS
}

// name returns the server's name in events and metrics.
func (e endpoint) name() string {
	if e.network == "unix" {
		return "unix:" + e.address
	}
	return e.address
}

// serverName returns the name that the server's certificate must have.
func (e endpoint) serverName() string {
	host, _, err := net.SplitHostPort(e.host)
	if err != nil {
		host = e.host
	}
	return strings.Trim(host, "[]")
}

// parseUpstream parses the URL of a server.
func parseUpstream(s string) (endpoint, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, fmt.Errorf("proxy: upstream %q: %w", redactURL(s), errUpstream)
	}
	ports := map[string]string{"http": "80", "h2c": "80", "https": "443"}
	switch {
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return endpoint{network: "unix", address: u.Path, host: "localhost"}, nil
	case ports[u.Scheme] != "" && u.Hostname() != "" && (u.Path == "" || u.Path == "/"):
		port := u.Port()
		if port == "" {
			port = ports[u.Scheme]
		}
		return endpoint{
			network: "tcp", address: net.JoinHostPort(u.Hostname(), port), host: withoutZone(u.Host),
			tls: u.Scheme == "https", h2c: u.Scheme == "h2c",
		}, nil
	}
	return endpoint{}, fmt.Errorf("proxy: upstream %q: %w", redactURL(s), errUpstream)
}

// parseName parses Group.DNS.
func parseName(s string) (endpoint, error) {
	full := s
	if !strings.Contains(s, "://") {
		full = "http://" + s
	}
	e, err := parseUpstream(full)
	if err == nil {
		var port string
		_, port, err = net.SplitHostPort(e.address)
		if n, perr := strconv.Atoi(port); perr != nil || n < 1 || n > 65535 {
			err = fmt.Errorf("port %q", port)
		}
	}
	if err != nil || e.network != "tcp" {
		return e, fmt.Errorf("proxy: name of servers %q: must be host:port, https://host:port or h2c://host:port", redactURL(s))
	}
	return e, nil
}
