package configs

// Upstream is a group of interchangeable servers. Routes refer to it by its name.
type Upstream struct {
	Name     string
	Servers  []Server // empty if DNS is used
	DNS      string   // host:port, https://host:port or h2c://host:port; every address of the name is a server. Empty if Servers is used
	Balance  string   // round_robin, least
	Sticky   Sticky
	Health   Health
	Eject    Eject
	Retries  int // maximum number of retries of one request, each on another server; 0 = none
	ConnsMax int // maximum number of connections to each server; 0 = its share of proxy.upstream_conns_max
	TLS      UpstreamTLS
}

// Server is one server of a group.
type Server struct {
	URL    string // http://host:port, https://host:port, h2c://host:port or unix:///path
	Weight int    // share of the requests, relative to the other servers; 0 = none
}

// Sticky configures how a client is kept on one server.
type Sticky struct {
	Cookie string // name of the cookie; empty = off
}

// Health configures active health checks.
type Health struct {
	Path          string // request target of the check; empty = no checks
	Every         Duration
	Timeout       Duration // limit for one check
	Fails, Passes int      // consecutive results that change the state of a server
}

// Eject configures after how many consecutive errors, and for how long, a server gets no requests.
type Eject struct {
	After  int      // consecutive errors; 0 = never
	For    Duration // duration of the first ejection; it grows when a server is ejected again
	AtMost Percent  // largest part of the group's servers that may be ejected at the same time
}

// UpstreamTLS configures TLS to the servers of a group. The zero UpstreamTLS verifies certificates against the system's CAs.
type UpstreamTLS struct {
	CAFile     string // PEM certificates to trust instead of the system's
	CertFile   string // client certificate, PEM, with its chain
	KeyFile    string
	ServerName string // name to send and to verify; empty = host of the server's URL
	Insecure   bool   // accept any certificate

	CA   string // read from CAFile
	Cert string // read from CertFile
	Key  Secret // read from KeyFile
}

// DefaultUpstream returns a group with the defaults of all keys, without a name and without servers.
func DefaultUpstream() Upstream {
	return Upstream{
		Balance: "round_robin", Retries: 1,
		Health: Health{Every: 5 * Second, Timeout: 2 * Second, Fails: 3, Passes: 2},
		Eject:  Eject{After: 5, For: 30 * Second, AtMost: 50},
	}
}

// Limits of groups.
const (
	weightMax      = 1000
	serversMax     = 256
	groupsMax      = 256
	checksMax      = 100 // largest health.fails and health.passes
	retriesMax     = 10
	healthEveryMin = 100 * Millisecond
	ejectForMin    = Second
	ejectForMax    = 24 * Hour
	ejectAfterMax  = 10_000
	atMostLeast    = Percent(1)
	atMostMost     = Percent(100)
)

// groupsKey is the key of the named groups.
const groupsKey = "upstreams"

// groupPath returns the path of a group, or of one of its keys, in errors.
func groupPath(name string) string { return groupsKey + "." + name }

// upstreamKeys binds the keys of a group to its fields.
func upstreamKeys(u *Upstream) []key {
	return []key{
		{"servers", &u.Servers, "The servers: a list of URLs (`http://host:port`, `https://host:port`, `h2c://host:port`, `unix:///path`), or of `{url: URL, weight: N}`.", check{}},
		{"dns", &u.DNS, "Instead of `servers`: `host:port`, `https://host:port` or `h2c://host:port`. Every address of the name is a server. The name is looked up every `proxy.upstream_resolve`. New addresses are used at once. An address is dropped after two successive lookups that did not return it. While lookups fail, the known addresses are kept.", optional(checkDNS)},
		{"balance", &u.Balance, "`round_robin`: one server after the other. `least`: of two servers chosen at random, the one with fewer requests in flight, which is better if some requests take much longer than others.", oneOf("round_robin", "least")},
		{"sticky.cookie", &u.Sticky.Cookie, "Name of a signed cookie that keeps a client on one server while that server is available. Empty = no cookie.", optional(checkCookie)},
		{"health.path", &u.Health.Path, "Path that wayside requests from each server to check it. A 2xx or 3xx response passes. Empty = no checks.", optional(checkHealthPath)},
		{"health.every", &u.Health.Every, "Time between two checks of a server.", between(healthEveryMin, Hour)},
		{"health.timeout", &u.Health.Timeout, "Maximum time for one check; after that, the check has failed. At most `health.every`.", between(Millisecond, Hour)},
		{"health.fails", &u.Health.Fails, "Number of consecutive failed checks after which a server gets no more requests.", between(1, checksMax)},
		{"health.passes", &u.Health.Passes, "Number of consecutive passed checks after which the server gets requests again.", between(1, checksMax)},
		{"eject.after", &u.Eject.After, "Number of consecutive requests without a valid response (connection refused or reset, timeout, response that is not HTTP) after which the server is ejected: for a while, it gets no requests. 0 = never.", between(0, ejectAfterMax)},
		{"eject.for", &u.Eject.For, "How long a server is ejected the first time. Each further ejection is longer, up to ten times as long, until the server has worked well for a while.", between(ejectForMin, ejectForMax)},
		{"eject.at_most", &u.Eject.AtMost, "Maximum share of the group's servers that are ejected at the same time. The last server is never ejected.", between(atMostLeast, atMostMost)},
		{"retries", &u.Retries, "Maximum number of retries of a request, each on another server. wayside retries a request if no byte of it was sent, or if it is GET, HEAD, OPTIONS or TRACE without a body and no byte of a response has arrived. In total, retries are limited to a fifth of the requests, plus a reserve of 100 retries. 0 = none.", between(0, retriesMax)},
		{"conns_max", &u.ConnsMax, "Maximum number of connections to each server; further requests wait (`proxy.upstream_wait`), and then get 503 `upstream_busy`. 0 = `proxy.upstream_conns_max` divided by the number of all servers; a `dns` name counts as 8.", atLeast(0)},
		{"tls.ca_file", &u.TLS.CAFile, "File with the PEM certificates to trust for these servers, instead of those of the system.", check{}},
		{"tls.cert_file", &u.TLS.CertFile, "File with the client certificate (PEM, with its chain) to present to the servers.", check{}},
		{"tls.key_file", &u.TLS.KeyFile, "File with the key of the client certificate.", check{}},
		{"tls.server_name", &u.TLS.ServerName, "Name that the servers' certificates must have; otherwise the host of the URL.", optional(checkServerName)},
		{"tls.insecure", &u.TLS.Insecure, "Accept any certificate. Anyone who can redirect the connection can then read and change everything on it.", check{}},
	}
}

// serverKeys binds the keys of a server to its fields.
func serverKeys(s *Server) []key {
	return []key{
		{"url", &s.URL, "URL of the server, as in `upstream`.", textCheck(checkUpstream)},
		{"weight", &s.Weight, "Share of the requests, relative to the other servers in the group. 0 = only requests from clients that `sticky.cookie` keeps on this server.", between(0, weightMax)},
	}
}
