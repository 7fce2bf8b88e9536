package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Recorder takes the books. Neither method may block: the proxy calls them on the path of the response.
type Recorder interface {
	// Record takes one response. The event and its byte slices are valid only during the call.
	Record(*event.Event)
	// Exclude counts a response that the operator asked not to record.
	Exclude()
}

// Exclude says which responses are counted with Recorder.Exclude instead of being recorded.
type Exclude struct {
	Paths      []string // exact paths; a trailing "*" matches any rest; behind a space, a prefix of the User-Agent that must match as well
	UserAgents []string // prefixes of the User-Agent, such as "kube-probe/"
}

// ClientAddress says how much of a client's address an event carries.
type ClientAddress string

// The settings of Options.ClientAddress.
const (
	ClientMasked ClientAddress = "masked" // IPv4 cut to /24, IPv6 to /48
	ClientFull   ClientAddress = "full"
	ClientOff    ClientAddress = "off"
)

// Options configures a [Proxy]. Zero values stand for the documented defaults; a negative duration switches that limit
// off.
type Options struct {
	Upstream string       // required: http://host:port or unix:///path/to/socket
	Recorder Recorder     // nil: nothing is recorded
	Logger   *slog.Logger // nil: slog.Default()
	// Now is the wall clock of the events' time stamps; nil: clock.Now. Durations are always measured on the
	// monotonic clock.
	Now func() time.Time

	ClientAddress  ClientAddress  // default "masked"
	RequestID      bool           // record the X-Request-ID of every response, not only of the proxy's own answers
	TraceID        bool           // record the trace id of traceparent
	TrustedProxies []netip.Prefix // peers whose forwarding fields are kept and extended; all others' are overwritten
	RecordExclude  Exclude

	// PassFields are forwarding fields, such as CF-Connecting-IP, that are passed on from all peers. Those that the proxy
	// writes itself (X-Forwarded-For, -Proto, -Host, -Port, Forwarded, X-Request-ID) are not affected.
	PassFields []string
	NoVia      bool // no Via is added to requests

	RequestFields  FieldRules // of requests, applied last
	ResponseFields FieldRules // of responses, the proxy's own included
	ServerTiming   bool       // add Server-Timing to responses: upstream;dur=, milliseconds to the first byte

	Resolver *net.Resolver // for the upstream's name; nil: net.DefaultResolver

	HeaderTimeout   time.Duration // a request's header, from its first byte; also the first request of a connection; default 30s
	ReadTimeout     time.Duration // longest silence within a request body; default 60s
	IdleTimeout     time.Duration // a client connection between requests; default 75s
	WriteTimeout    time.Duration // longest time without progress while writing to a client; default 60s
	ConnectTimeout  time.Duration // dialling the upstream; default 5s
	ResponseTimeout time.Duration // sending a request and waiting for the response's header; default 60s
	BodyTimeout     time.Duration // longest silence within a response body; default 5m
	TotalTimeout    time.Duration // from the first byte to the upstream to the last from it; streams are exempt; default 0 = unlimited
	ResolveInterval time.Duration // between look-ups of the upstream's name; default 30s
	TunnelTimeout   time.Duration // longest silence of an upgraded connection, over both directions; default 1h
	DrainGrace      time.Duration // how long a shutdown leaves silent client connections open; default 500ms
	MaxIdleUpstream time.Duration // age at which an idle upstream connection is closed; below the upstream's keep-alive; default 50s
	MaxConnWait     time.Duration // waiting for a free upstream connection; default 5s

	MaxConnsPerUpstream int   // default 4096
	MaxHeaderBytes      int   // request line and header of a request, beyond it 431; default 32768
	MaxConns            int   // client connections, of which an address may have 58 % (limits.go), trusted proxies exempt; beyond it 503; default 0 = unlimited
	MaxHeldBytes        int64 // unfinished headers and buffered bodies of all clients, beyond the first 4 KiB of each; beyond it 503; default 0 = unlimited
	MaxConnsPerAddress  int   // likewise from one address (IPv6: from one /64), trusted proxies exempt; default 0 = unlimited
	MinBodyRate         int64 // bytes a second of a request's body on average, once ReadTimeout has passed; beyond it 408; default 0 = unlimited
	MaxRequestBodyBytes int64 // beyond it 413; default 0 = unlimited
}

// Fixed sizes, in bytes.
const (
	bufferedBodyBytesMax   = 64 << 10 // a body of up to this declared length is read whole before it is passed on
	responseHeaderBytesMax = 16 << 10 // the upstream reader's buffer, which also is the unit of relaying
	writeBufferBytes       = 16 << 10
	scratchBytesKept       = 16 << 10 // a larger buffer is not kept between the requests of a connection
)

// errUpstream is wrapped by the errors New returns for an unusable Options.Upstream.
var errUpstream = errors.New(`must be http://host:port or unix:///path`)

func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = clock.Now
	}
	switch o.ClientAddress {
	case "":
		o.ClientAddress = ClientMasked
	case ClientMasked, ClientFull, ClientOff:
	default:
		return o, fmt.Errorf("proxy: client address %q: must be masked, full or off", o.ClientAddress)
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.HeaderTimeout, 30 * time.Second},
		{&o.ReadTimeout, 60 * time.Second},
		{&o.IdleTimeout, 75 * time.Second},
		{&o.WriteTimeout, 60 * time.Second},
		{&o.ConnectTimeout, 5 * time.Second},
		{&o.ResponseTimeout, 60 * time.Second},
		{&o.BodyTimeout, 5 * time.Minute},
		{&o.MaxIdleUpstream, 50 * time.Second},
		{&o.MaxConnWait, 5 * time.Second},
		{&o.TunnelTimeout, time.Hour},
		{&o.DrainGrace, 500 * time.Millisecond},
		{&o.ResolveInterval, 30 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if o.MaxConnsPerUpstream <= 0 {
		o.MaxConnsPerUpstream = 4096
	}
	if o.MaxHeaderBytes <= 0 {
		o.MaxHeaderBytes = 32 << 10
	}
	return o, nil
}

// parseUpstream splits an upstream URL into what net.Dial takes and the Host a request without one is given.
func parseUpstream(s string) (network, address, host string, err error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", "", fmt.Errorf("proxy: upstream %q: %w", redactURL(s), errUpstream)
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return "unix", u.Path, "localhost", nil
	case u.Scheme == "http" && u.Hostname() != "" && (u.Path == "" || u.Path == "/"):
		port := u.Port()
		if port == "" {
			port = "80"
		}
		return "tcp", net.JoinHostPort(u.Hostname(), port), u.Host, nil
	}
	return "", "", "", fmt.Errorf("proxy: upstream %q: %w", redactURL(s), errUpstream)
}

// redactURL keeps a password that was put into the upstream URL by mistake out of the error.
func redactURL(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}
