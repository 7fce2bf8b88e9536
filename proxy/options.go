package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// Recorder receives the events. The proxy calls it while it handles a response. Its methods must not block, except that Record may block if
// Options.RecorderBlocks is set.
type Recorder interface {
	// Record receives the event of one response. The event and its byte slices are valid only during the call.
	Record(*event.Event)
	// Exclude counts a response that Options.RecordExclude selects.
	Exclude()
}

// Exclude selects the responses that are not recorded but only counted, with Recorder.Exclude.
type Exclude struct {
	// Paths are exact paths; a trailing "*" turns one into a prefix. A path may be followed by a space and a prefix of the User-Agent,
	// which must then also match.
	Paths []string
	// UserAgents are prefixes of the User-Agent, such as "kube-probe/". Any client that sends one of them is not recorded.
	UserAgents []string
}

// ClientAddress determines how much of a client's address an event contains.
type ClientAddress string

// The values of Options.ClientAddress.
const (
	ClientMasked ClientAddress = "masked" // IPv4 reduced to /24, IPv6 to /48
	ClientFull   ClientAddress = "full"
	ClientOff    ClientAddress = "off"
)

// FieldRules describe changes to header fields.
type FieldRules = http1.FieldRules

// Options configures a [Proxy]. Unless a field's comment says otherwise, zero means the documented default, and a negative duration switches a time
// limit off.
//
// Clients are limited by IP address; an IPv6 /64 counts as one address. TrustedProxies are exempt from all limits per address, because each of them
// represents many clients. The rule that divides a limit among addresses is in limits.go.
type Options struct {
	// Upstream is the service behind the proxy: http://host:port, https://host:port, h2c://host:port or unix:///path/to/socket. It is
	// required unless there are Groups.
	Upstream string
	// Groups are the groups of servers behind the proxy. Nil means one group with one server, Upstream. Without routes, all requests go to the
	// first group.
	Groups []Group
	// StickyKey signs the cookies of Group.StickyCookie. If it changes, each client may be moved to another server once. Nil means a
	// random key.
	StickyKey []byte
	// Routes determine where requests go: the first route whose conditions hold is used. If none does, the response is 404. If there are no
	// routes, everything goes to the first group.
	Routes []Route
	// Recorder receives one event per response. If it is nil, nothing is recorded.
	Recorder Recorder
	// RecorderBlocks means that Record may block, for example until an event is on disk.
	RecorderBlocks bool
	// Driver determines how the proxy waits for I/O on its connections. DriverAuto, the default, uses event loops. Reload does not
	// change it.
	Driver Driver
	// Loops is the number of event loops. Each may keep one of the Go runtime's processors to itself, so GOMAXPROCS must be larger by that
	// number than it would be otherwise. The default is half of GOMAXPROCS, at least one. Reload does not change it.
	Loops int
	// Logger is slog.Default() if nil.
	Logger *slog.Logger

	// ClientAddress determines how much of a client's address events contain. The default, masked, still distinguishes networks, but not
	// people. With full, events are personal data in most jurisdictions. For a client behind one of TrustedProxies, the address is the
	// one that the trusted proxy reports.
	ClientAddress ClientAddress
	// RequestID records the X-Request-ID of every response, so that the event for a log line of the service can be found. IDs hardly
	// compress, so the store and the archive grow. Events of responses that the proxy itself generates always contain the ID.
	RequestID bool
	// TraceID records the trace ID from traceparent, which connects an event to a trace. It costs about 22 bytes per event in the archive.
	TraceID bool
	// SpanPercent is the percentage of sampled traces whose events contain an event.Span. A trace is sampled if the sampled flag in
	// traceparent is set. A span costs 31 bytes per event in the spool. The default, 0, means no spans.
	SpanPercent int
	// TrustedProxies are the peers whose forwarding fields are kept and extended. The forwarding fields of all other peers are removed,
	// and the proxy writes its own, so a load balancer that is missing here appears as the client. A listed peer can claim any client
	// address.
	TrustedProxies []netip.Prefix
	// RecordExclude selects responses that are counted but not recorded, such as those to health checks.
	RecordExclude Exclude

	// ProxyProtocol are the balancers whose connections must begin with a PROXY header (version 1 or 2), which names the client. The limits
	// per address apply to the client. A header from any other peer is refused like a malformed request.
	ProxyProtocol []netip.Prefix

	// PassFields are forwarding fields, such as CF-Connecting-IP, that are passed on from all peers. Use it only if the service cannot be
	// reached except through the proxy that sets the field: otherwise, any client could set it. The fields that this proxy itself writes
	// (X-Forwarded-For, -Proto, -Host, -Port, Forwarded, X-Request-ID) are not affected.
	PassFields []string
	// NoVia omits Via from requests. Via lets proxies detect loops, but some servers, such as nginx, do not compress responses to requests that
	// contain it.
	NoVia bool

	// RequestFields changes the fields of requests, after all other changes.
	RequestFields FieldRules
	// ResponseFields changes the fields of responses, including the proxy's own.
	ResponseFields FieldRules
	// ServerTiming adds Server-Timing to responses: "upstream;dur=" followed by the milliseconds until the upstream's first byte.
	// Browsers show it. Every client can then see how long the service takes for a request.
	ServerTiming bool

	// TLS is for ServeTLS and ServeRedirect. Reload cannot switch between nil and a value.
	TLS *TLSOptions

	// Resolver looks up the upstream's name; nil means net.DefaultResolver.
	Resolver *net.Resolver

	// HeaderTimeout limits the time from the first byte of a request's header to the last one, and the wait for the first byte on a new
	// connection. It protects against clients that send a header slowly to occupy a connection. Default 30s.
	HeaderTimeout time.Duration
	// ReadTimeout is how long a client may send nothing within a request's body. Default 60s. See MinBodyRate for clients that send a little at a time.
	ReadTimeout time.Duration
	// IdleTimeout limits the time between two requests on a client's connection. With a longer time, clients open fewer new connections,
	// but each idle connection occupies memory and a descriptor. Default 75s.
	IdleTimeout time.Duration
	// WriteTimeout limits the time without progress while writing to a client. Default 60s.
	WriteTimeout time.Duration
	// ConnectTimeout limits dialing the upstream, including the name lookup. Default 5s.
	ConnectTimeout time.Duration
	// ResponseTimeout limits the time between sending a request and receiving the upstream's response header; after that the client
	// gets 504. It must be longer than the service's slowest request takes. Default 60s.
	ResponseTimeout time.Duration
	// BodyTimeout is how long a server may send nothing within a response's body. It must be longer than the pauses of event streams. Default 5m.
	BodyTimeout time.Duration
	// TotalTimeout limits the time from the first byte sent to the upstream to the last byte received from it. Event streams and upgraded
	// connections are exempt. It also cuts off large downloads by slow clients. Default 0: no limit.
	TotalTimeout time.Duration
	// ResolveInterval is the time between two lookups of the upstream's name. Connections to addresses that the name no longer has are not
	// reused. If it is negative, the name is looked up only when dialing. Default 30s.
	ResolveInterval time.Duration
	// TunnelTimeout is how long an upgraded connection may be silent in both directions. Default 1h.
	TunnelTimeout time.Duration
	// TunnelHalfClosedTimeout is how long an upgraded connection may be silent after one side has half-closed it. Often, that side no
	// longer exists, and the other side does not detect that. If it is negative, only TunnelTimeout applies. Default 60s.
	TunnelHalfClosedTimeout time.Duration
	// DrainGrace is how long a shutdown leaves silent client connections open, so that a request that is already on its way still gets its
	// response. A shutdown takes at least that long if there are idle connections. Default 500ms.
	DrainGrace time.Duration
	// MaxIdleUpstream is how long an upstream connection may be idle before it is closed. It should be shorter than the service's keep-alive
	// time: otherwise the service may close a connection just as a request is sent on it. Default 50s.
	MaxIdleUpstream time.Duration
	// MaxConnWait limits the wait for a free upstream connection; after that the client gets 503. Default 5s.
	MaxConnWait time.Duration

	// HTTP2 limits what clients may do over HTTP/2. On cleartext listeners, clients can use HTTP/2 with prior knowledge (RFC 9113, section
	// 3.3); over TLS, they can use HTTP/2 if TLS.Config offers it.
	HTTP2 HTTP2Options

	// MaxConnsPerUpstream limits the connections to the upstream; further requests wait, at most MaxConnWait. One address may use at most 58 %
	// of the connections. Upgraded connections do not count. Default 4096.
	MaxConnsPerUpstream int
	// MaxHeaderBytes limits the size of a request's request line and header together; a larger request gets 431. Default 32768.
	MaxHeaderBytes int
	// MaxResponseHeaderBytes limits the size of a response's header; if it is larger, the client gets 502. Only responses that need more than
	// 16 KiB use more memory. Default 16384.
	MaxResponseHeaderBytes int
	// MaxConns limits the number of client connections and, separately, the number of HTTP/2 requests in progress; additional ones get 503.
	// One address may have at most 58 % of each. Default 0: no limit.
	MaxConns int
	// MaxHeldBytes limits the memory for unfinished headers and buffered bodies of all clients together, not counting the first 4 KiB of each
	// connection; further requests get 503. Default 0: no limit.
	MaxHeldBytes int64
	// MaxConnsPerAddress limits the connections from one address; additional ones get 503. It also limits users who share an address, such
	// as a company's gateway. Default 0: no limit except the share of MaxConns.
	MaxConnsPerAddress int
	// MinBodyRate is the average rate, in bytes per second, at which a client must send a request's body after ReadTimeout has passed;
	// slower clients get 408. Default 0: no limit.
	MinBodyRate int64
	// MaxRequestBodyBytes limits the size of a request's body; a request with a larger body gets 413. Default 0: no limit.
	MaxRequestBodyBytes int64
}

// HTTP2Options are limits for HTTP/2 connections with clients. If StreamsMax is exceeded, the stream is refused; if another limit is exceeded, the
// connection ends with ENHANCE_YOUR_CALM.
type HTTP2Options struct {
	// Off switches HTTP/2 off: a client that sends its preface gets 505.
	Off bool
	// StreamsMax is how many requests a connection may have in progress at the same time. A request counts until the proxy has finished
	// handling it, even if the client has reset it. Default 100.
	StreamsMax int
	// WindowBytes is how many bytes of a request's body are received before the upstream has taken them, at least 65,535. For a whole
	// connection, the limit is eight times as high. The bytes count towards MaxHeldBytes. Default 65535.
	WindowBytes int
	// ResetsMax is how many requests per second a client may end early on a connection: by resetting them, or by violating the protocol so that
	// they must be reset. In a burst, five times as many are allowed. Default 100.
	ResetsMax int
	// FramesMax is how many frames without content (PING, SETTINGS, WINDOW_UPDATE and others) a client may send per second on a connection.
	// The frames that its requests and responses need do not count. In a burst, ten times as many are allowed. Default 100.
	FramesMax int
}

// Fixed sizes, in bytes.
const (
	bufferedBodyBytesMax = 64 << 10 // a body of up to this declared length is read completely before it is passed on
	upstreamReadBytes    = 16 << 10 // size of the buffer for reading from an upstream; also the largest piece that is relayed in one write
	writeBufferBytes     = 16 << 10
	scratchBytesKept     = 16 << 10 // larger buffers are not kept between the requests on a connection
)

// errUpstream is wrapped by the error of New if a server's URL is invalid.
var errUpstream = errors.New(`must be http://host:port, https://host:port or unix:///path`)

func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch o.Driver {
	case "":
		o.Driver = DriverAuto
	case DriverAuto, DriverLoop, DriverGoroutine:
	default:
		return o, fmt.Errorf("proxy: driver %q: must be auto, loop or goroutine", o.Driver)
	}
	if o.Loops <= 0 {
		o.Loops = max(runtime.GOMAXPROCS(0)/2, 1)
	}
	if o.TLS != nil && o.TLS.Config == nil {
		return o, errors.New("proxy: Options.TLS.Config is required")
	}
	switch o.ClientAddress {
	case "":
		o.ClientAddress = ClientMasked
	case ClientMasked, ClientFull, ClientOff:
	default:
		return o, fmt.Errorf("proxy: client address %q: must be masked, full or off", o.ClientAddress)
	}
	o.setLimits()
	return o, nil
}

// setLimits fills in the limits that are not set.
func (o *Options) setLimits() {
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
		{&o.TunnelHalfClosedTimeout, 60 * time.Second},
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
	for _, n := range []struct {
		value    *int
		standard int
	}{{&o.HTTP2.StreamsMax, 100}, {&o.HTTP2.WindowBytes, 65535}, {&o.HTTP2.ResetsMax, 100}, {&o.HTTP2.FramesMax, 100}} {
		if *n.value <= 0 {
			*n.value = n.standard
		}
	}
	if o.MaxHeaderBytes <= 0 {
		o.MaxHeaderBytes = 32 << 10
	}
	if o.MaxResponseHeaderBytes <= 0 {
		o.MaxResponseHeaderBytes = 16 << 10
	}
}

// withoutZone removes the zone from an IPv6 address, because a zone is meaningful only on this host (RFC 6874, section 1).
func withoutZone(host string) string {
	if zone := strings.IndexByte(host, '%'); zone >= 0 && host[0] == '[' {
		return host[:zone] + host[strings.IndexByte(host, ']'):]
	}
	return host
}

// redactURL removes a password that was written into the upstream URL by mistake.
func redactURL(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}
