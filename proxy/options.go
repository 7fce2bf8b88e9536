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

	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// Recorder receives the events. The proxy calls it on the path of the response. Neither method may block, except Record with
// Options.RecorderBlocks.
type Recorder interface {
	// Record receives one response. The event and its byte slices are valid only during the call.
	Record(*event.Event)
	// Exclude counts a response that Options.RecordExclude names.
	Exclude()
}

// Exclude says which responses are only counted, with Recorder.Exclude.
type Exclude struct {
	// Paths are exact paths; a trailing "*" makes a prefix of one. A path may be followed by a space and a prefix of the
	// User-Agent, which must then match too.
	Paths []string
	// UserAgents are prefixes of the User-Agent, such as "kube-probe/". Any client can send one of them, and is then not recorded.
	UserAgents []string
}

// ClientAddress says how much of a client's address an event carries.
type ClientAddress string

// The values of Options.ClientAddress.
const (
	ClientMasked ClientAddress = "masked" // IPv4 cut to /24, IPv6 to /48
	ClientFull   ClientAddress = "full"
	ClientOff    ClientAddress = "off"
)

// FieldRules changes header fields.
type FieldRules = http1.FieldRules

// Options configures a [Proxy]. Unless an option says otherwise, zero means the default that it documents, and a negative
// duration switches a time limit off.
//
// Clients are limited by IP address; an IPv6 /64 counts as one address. TrustedProxies are exempt from all limits per address,
// because each of them speaks for many clients. The rule that divides a limit among addresses is in limits.go.
type Options struct {
	// Upstream is the service behind the proxy: http://host:port, https://host:port or unix:///path/to/socket. Required unless there are
	// Groups.
	Upstream string
	// Groups are the groups of servers behind the proxy. Nil: one group with one server, Upstream. Without routes, all requests go to the
	// first group.
	Groups []Group
	// StickyKey signs the cookies of Group.StickyCookie. If it changes, clients may change their servers once. Nil: a random key.
	StickyKey []byte
	// Routes say where requests go: the first one whose conditions hold. If none does, the answer is 404. Empty: everything goes to
	// the first group.
	Routes []Route
	// Recorder receives one event per response. Nil: nothing is recorded.
	Recorder Recorder
	// RecorderBlocks says that Record may block, for example until an event is on disk.
	RecorderBlocks bool
	// Driver says how the proxy waits for connections. DriverAuto, the default, uses event loops. Reload does not change it.
	Driver Driver
	// Loops is the number of event loops. Each may keep one processor of the Go runtime to itself, so GOMAXPROCS must be larger by as
	// many than it would be otherwise. Default: half of GOMAXPROCS, at least one. Reload does not change it.
	Loops int
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
	// Now is the wall clock for the time stamps of events; nil: clock.Now. Durations always use the monotonic clock.
	Now func() time.Time

	// ClientAddress says how much of a client's address events carry. The default, masked, still separates networks, but not
	// persons. With full, events are personal data in most jurisdictions. Behind one of TrustedProxies, it is the address that this proxy
	// reports.
	ClientAddress ClientAddress
	// RequestID records the X-Request-ID of every response, so that an event can be found from a log line of the service. Ids hardly
	// compress, so the store and the archive grow. Events of the proxy's own answers always carry the id.
	RequestID bool
	// TraceID records the trace id of traceparent, which connects an event to a trace. It costs about 22 bytes an event in the
	// archive.
	TraceID bool
	// TrustedProxies are the peers whose forwarding fields are kept and extended. Those of all other peers are removed and written
	// new, so a load balancer that is missing here appears as the client. Whoever is listed can claim any client address.
	TrustedProxies []netip.Prefix
	// RecordExclude names responses that are counted and not recorded, such as health checks.
	RecordExclude Exclude

	// ProxyProtocol are the balancers whose connections must begin with a PROXY header (version 1 or 2), which names the client. The limits
	// per address count the client. A header from anybody else is refused like any other request that is malformed.
	ProxyProtocol []netip.Prefix

	// PassFields are forwarding fields, such as CF-Connecting-IP, that are passed on from all peers. Use it if the service is not
	// reachable except through the proxy that sets the field: any other client could set it too. The fields that this proxy writes
	// itself (X-Forwarded-For, -Proto, -Host, -Port, Forwarded, X-Request-ID) are not affected.
	PassFields []string
	// NoVia omits Via from requests. Via lets proxies detect a loop. Some servers, such as nginx, do not compress responses to
	// requests that carry it.
	NoVia bool

	// RequestFields changes the fields of requests, after everything else.
	RequestFields FieldRules
	// ResponseFields changes the fields of responses, including the proxy's own.
	ResponseFields FieldRules
	// ServerTiming adds Server-Timing to responses: upstream;dur=, the milliseconds to the upstream's first byte. Browsers show it.
	// Every client can then see how long the service works on a request.
	ServerTiming bool

	// TLS is for ServeTLS and ServeRedirect. Reload cannot switch between nil and a value.
	TLS *TLSOptions

	// Resolver looks up the upstream's name; nil: net.DefaultResolver.
	Resolver *net.Resolver

	// HeaderTimeout limits the time for a request's header, from its first byte, and for the first byte of a new connection. It
	// protects against clients that send a header slowly to hold a connection. Default 30s.
	HeaderTimeout time.Duration
	// ReadTimeout limits the silence within a request's body. Default 60s. See MinBodyRate for clients that send a little at a time.
	ReadTimeout time.Duration
	// IdleTimeout limits the time between two requests on a client's connection. A longer time saves clients new connections; each
	// idle connection holds memory and a descriptor. Default 75s.
	IdleTimeout time.Duration
	// WriteTimeout limits the time without progress while writing to a client. Default 60s.
	WriteTimeout time.Duration
	// ConnectTimeout limits dialling the upstream, name lookup included. Default 5s.
	ConnectTimeout time.Duration
	// ResponseTimeout limits the time from sending a request to the upstream's response header; then the answer is 504. It must be
	// longer than the slowest request of the service. Default 60s.
	ResponseTimeout time.Duration
	// BodyTimeout limits the silence within a response's body. Event streams need it longer than their pauses. Default 5m.
	BodyTimeout time.Duration
	// TotalTimeout limits the time from the first byte to the upstream to the last from it. Event streams and upgraded connections
	// are exempt. It also ends large downloads to slow clients. Default 0: no limit.
	TotalTimeout time.Duration
	// ResolveInterval is the time between two lookups of the upstream's name. Connections to addresses that the name no longer has
	// are not used again. Negative: the name is only looked up when dialling. Default 30s.
	ResolveInterval time.Duration
	// TunnelTimeout limits the silence on an upgraded connection, over both directions. Default 1h.
	TunnelTimeout time.Duration
	// TunnelHalfClosedTimeout limits the silence on an upgraded connection after one side has ended its direction. That side is often gone,
	// and the other does not notice. Negative: only TunnelTimeout limits it. Default 60s.
	TunnelHalfClosedTimeout time.Duration
	// DrainGrace is how long a shutdown leaves silent client connections open, so that a request that is already on its way is still
	// answered. Every shutdown takes at least as long while idle connections are open. Default 500ms.
	DrainGrace time.Duration
	// MaxIdleUpstream is the age at which an idle upstream connection is closed. It should be shorter than the keep-alive time of the
	// service: otherwise requests meet connections that the service is just closing. Default 50s.
	MaxIdleUpstream time.Duration
	// MaxConnWait limits the wait for a free upstream connection; then the answer is 503. Default 5s.
	MaxConnWait time.Duration

	// HTTP2 limits what clients may do over HTTP/2. They reach it on cleartext listeners with prior knowledge (RFC
	// 9113, section 3.3), and over TLS if TLS.Config offers it.
	HTTP2 HTTP2Options

	// MaxConnsPerUpstream limits the connections to the upstream; beyond it requests wait, for MaxConnWait at most. One address may
	// use at most 58 % of them. Upgraded connections do not count. Default 4096.
	MaxConnsPerUpstream int
	// MaxHeaderBytes limits request line and header of a request; beyond it the answer is 431. Default 32768.
	MaxHeaderBytes int
	// MaxResponseHeaderBytes limits the header of a response; beyond it the answer is 502. Memory for more than 16 KiB is only used by
	// responses that need it. Default 16384.
	MaxResponseHeaderBytes int
	// MaxConns limits client connections and, apart from them, requests over HTTP/2 that are in progress; beyond it the answer is 503. One address may have at most 58 % of them. Default 0: no limit.
	MaxConns int
	// MaxHeldBytes limits the memory for unfinished headers and buffered bodies of all clients, without the first 4 KiB of each
	// connection; beyond it the answer is 503. Default 0: no limit.
	MaxHeldBytes int64
	// MaxConnsPerAddress limits the connections of one address; beyond it the answer is 503. It also limits the users behind a shared
	// address, such as a company's gateway. Default 0: no limit except the share of MaxConns.
	MaxConnsPerAddress int
	// MinBodyRate is how many bytes a second of a request's body a client must send on average once ReadTimeout has passed; slower
	// ones get 408. Default 0: no limit.
	MinBodyRate int64
	// MaxRequestBodyBytes limits a request's body; beyond it the answer is 413. Default 0: no limit.
	MaxRequestBodyBytes int64
}

// HTTP2Options are limits of HTTP/2 connections of clients. Beyond them a stream is refused (StreamsMax), or the connection ends with
// ENHANCE_YOUR_CALM.
type HTTP2Options struct {
	// Off switches HTTP/2 off: its preface gets 505.
	Off bool
	// StreamsMax is how many requests a connection may have at the same time. A request counts until its exchange has ended, even if the
	// client has reset it. Default 100.
	StreamsMax int
	// WindowBytes is how much of a request's body is received before the upstream takes it, at least 65,535; a connection may have eight
	// times as much. It counts in MaxHeldBytes. Default 65535.
	WindowBytes int
	// ResetsMax is how many requests a second a connection may end early: by resetting them, or by breaking the protocol so that they must
	// be reset. Five times as many may come at once. Default 100.
	ResetsMax int
	// FramesMax is how many frames a second that carry nothing (PING, SETTINGS, WINDOW_UPDATE and others) a connection may send in addition to
	// those that its requests and responses explain. Ten times as many may come at once. Default 100.
	FramesMax int
}

// Fixed sizes, in bytes.
const (
	bufferedBodyBytesMax = 64 << 10 // a body of up to this declared length is read whole before it is passed on
	upstreamReadBytes    = 16 << 10 // the buffer of the upstream's reader; also the largest piece that is relayed at once
	writeBufferBytes     = 16 << 10
	scratchBytesKept     = 16 << 10 // a larger buffer is not kept between the requests of a connection
)

// errUpstream is wrapped by the errors of New if the URL of a server cannot be used.
var errUpstream = errors.New(`must be http://host:port, https://host:port or unix:///path`)

func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = clock.Now
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

// withoutZone removes the zone of an IPv6 address: it has a meaning on this host only (RFC 6874, section 1).
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
