// Package configs contains wayside's configuration: its types, defaults, loading, validation and example files.
//
// A value comes from the first of these sources that sets it: a flag, a WAYSIDE_* environment variable, the file, the default.
// The table in keys.go contains all keys. Loading, the names of environment variables, printing, the commented example full.yaml and the
// table in docs/CONFIGURATION.md are all derived from it.
//
// Loading is strict. An unknown key, a key that is set twice, a value in the wrong form and an unknown WAYSIDE_* variable are errors.
// All errors are reported together, each with its position: file, line and column, environment variable, or flag. Nothing in this package
// opens a socket or writes a file.
package configs

import "time"

// Config is the whole configuration. keys.go documents each key. The zero Config is not valid; start from Default.
type Config struct {
	Listen   string   // address the proxy listens on
	Upstream []string // URLs of servers that share the load, usually one; empty until set, and if Routes is used
	Service  string   // name of the proxied service, part of every archived event
	Instance string   // name of this instance, part of every archived event

	RedirectHTTP  string   // second address, without TLS, that redirects to HTTPS; empty = none
	ProxyProtocol []string // networks whose connections begin with a PROXY header
	TLS           TLS
	Upstreams     []Upstream // named groups, in the order of the file; empty if Upstream is used
	Routes        []Route    // the first route that matches is used; empty if Upstream is used

	Data      Data
	Admin     Admin
	Log       Log
	Shutdown  Shutdown
	Proxy     Proxy
	Record    Record
	Spool     Spool
	Collector Collector
	Paths     Paths
	Metrics   Metrics
	OTLP      OTLP
	Archive   Archive
	Retention Retention
	Report    Report
	Prune     Prune

	origins  origins
	expiries map[string]time.Time                // when the certificates that Load has read will expire, by the key of their files
	lookup   func(host string) ([]string, error) // see LoadOptions.LookupHost
}

// Data is the data directory and its limits.
type Data struct {
	Dir      string
	BytesMax Bytes // limit for spool, store, quarantine and local archive together; 0 = no limit
	FreeMin  Bytes // free space to leave on the filesystem; 0 = no limit
}

// Admin configures the admin listener and the probes listener.
type Admin struct {
	Listen    string
	Hosts     []string // allowed host names, in addition to addresses and localhost
	Token     Secret   // set directly, or read from TokenFile; required unless Listen is on loopback
	TokenFile string
	Probes    string // second address with /livez, /readyz and /metrics only, without a token; empty = none
	PProf     bool   // serve /debug/pprof/
}

// Log configures the log and the access log.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // auto, json, text
	Access bool   // one JSON line per response on standard output
}

// Shutdown limits the time between SIGTERM and exit.
type Shutdown struct {
	Timeout Duration // for everything, including Delay
	Delay   Duration // how long to report "not ready" while still serving
}

// Proxy configures the proxy. See proxy.Options for what each limit means.
type Proxy struct {
	Driver                  string // auto, loop, goroutine
	HeaderTimeout           Duration
	ReadTimeout             Duration
	IdleTimeout             Duration
	WriteTimeout            Duration
	ConnectTimeout          Duration
	ResponseTimeout         Duration // 0 = no limit
	BodyTimeout             Duration // 0 = no limit
	TotalTimeout            Duration // 0 = no limit
	TunnelTimeout           Duration // 0 = no limit
	TunnelHalfClosedTimeout Duration // 0 = only TunnelTimeout
	UpstreamIdle            Duration
	UpstreamConnsMax        int // 0 = derived from memory and descriptors; see DeriveLimits
	UpstreamWait            Duration
	UpstreamResolve         Duration // 0 = resolve only when a connection is made
	HeaderBytesMax          Bytes
	ResponseHeaderBytesMax  Bytes
	BodyBytesMax            Bytes // 0 = no limit
	BodyRateMin             Bytes // per second; 0 = no limit
	ConnsMax                int   // 0 = derived from memory and descriptors; see DeriveLimits
	HeldBytesMax            Bytes // 0 = derived from memory; see DeriveLimits
	AddressConnsMax         int   // 0 = no limit
	HTTP2                   bool
	HTTP2StreamsMax         int
	HTTP2WindowBytes        Bytes
	HTTP2ResetsMax          int // per second
	HTTP2FramesMax          int // per second
	TrustedProxies          []string
	PassFields              []string
	Via                     bool
	ServerTiming            bool
	RequestFields           Fields
	ResponseFields          Fields
}

// Fields changes header fields. Set and Add contain "Name: value" lines, Remove contains names.
type Fields struct {
	Set, Add, Remove []string
}

// Record configures what an event contains, and which responses are not recorded.
type Record struct {
	Exclude       Exclude
	ClientAddress string // masked, full, off
	TraceID       bool
	RequestID     bool // whether to record it for all responses rather than only for those that wayside itself generates
}

// Exclude selects responses that are not recorded but only counted as excluded.
type Exclude struct {
	Paths      []string
	UserAgents []string
}

// Spool configures the queue between the traffic process and the books process.
type Spool struct {
	Sync           string // interval, request
	CommitInterval Duration
	SegmentBytes   Bytes
	Segments       int
	BytesMax       Bytes
	AgeMax         Duration // 0 = no limit
}

// Collector configures the books process.
type Collector struct {
	Enabled        bool
	MemoryBytesMax Bytes
	DrainEvents    int
	DrainInterval  Duration
	Nice           int // 0 to 19
	Snapshot       Snapshot
}

// Snapshot configures how often a snapshot of the hot paths is created, and which time range it covers.
type Snapshot struct {
	Batches  int
	Interval Duration
	Window   Duration
}

// Paths limits the rows of the statistics.
type Paths struct {
	Max       int
	HostsMax  int
	Templates []string
	Raw       string // "on" or "off"
}

// Metrics limits the number of paths that have their own series in /metrics.
type Metrics struct {
	PathsMax int
}

// Archive configures where and when raw events are archived.
type Archive struct {
	URL           string // file:///dir or s3://bucket/prefix
	After         Duration
	Schedule      string
	ObjectBytes   Bytes
	Endpoint      string
	Region        string
	PathStyle     bool
	AccessKeyFile string
	SecretKeyFile string
	AccessKey     Secret // read from AccessKeyFile; empty = the usual AWS credential chain
	SecretKey     Secret // read from SecretKeyFile
	Timeout       Duration
	CAFile        string
	CA            string // PEM certificates, read from CAFile
	Omit          []string
	Expire        Duration // when event objects in a directory expire; 0 = never, which is the default for a named archive
}

// Retention configures when archived events are deleted from local disk.
type Retention struct {
	Events   Duration
	Schedule string
}

// Report configures the capacity report.
type Report struct {
	Schedule string
	WarnDays int // warn if a limit will be reached within this many days
}

// Prune configures the removal of data that is no longer needed.
type Prune struct{ Schedule string }

// OTLP configures the export of metrics and spans.
type OTLP struct {
	Endpoint    string   // URL; empty = nothing is exported
	Interval    Duration // 0 = no metrics
	Spans       Percent  // 0 = no spans
	HeadersFile string
	Headers     Secret // "Name: value" lines, read from HeadersFile
	CAFile      string
	CA          string // PEM certificates, read from CAFile
}

// Default returns the default values of all keys. Upstream, Service, Instance and Archive.URL are empty; Load fills in the last three.
func Default() Config {
	return Config{
		Listen:   "127.0.0.1:8090",
		Data:     Data{Dir: "./wayside-data", BytesMax: 10 * GiB, FreeMin: 256 * MiB},
		Admin:    Admin{Listen: "127.0.0.1:8091"},
		Log:      Log{Level: "info", Format: "auto"},
		Shutdown: Shutdown{Timeout: 25 * Second},
		Proxy: Proxy{
			HeaderTimeout: 30 * Second, ReadTimeout: Minute, IdleTimeout: 75 * Second, WriteTimeout: Minute,
			ConnectTimeout: 5 * Second, ResponseTimeout: Minute, BodyTimeout: 5 * Minute, TunnelTimeout: Hour, TunnelHalfClosedTimeout: Minute,
			UpstreamIdle: 50 * Second, UpstreamWait: 5 * Second, UpstreamResolve: 30 * Second,
			Driver: "auto", HeaderBytesMax: 32 * KiB, ResponseHeaderBytesMax: 16 * KiB, BodyRateMin: 256, Via: true,
			HTTP2: true, HTTP2StreamsMax: 100, HTTP2WindowBytes: 64 * KiB, HTTP2ResetsMax: 100, HTTP2FramesMax: 100,
		},
		Record: Record{ClientAddress: "masked"},
		Spool: Spool{
			Sync: "interval", CommitInterval: 100 * Millisecond,
			SegmentBytes: MiB, Segments: 8, BytesMax: 256 * MiB,
		},
		Collector: Collector{
			Enabled: true, MemoryBytesMax: 32 * MiB, DrainEvents: 4096, DrainInterval: Second, Nice: 5,
			Snapshot: Snapshot{Batches: 10, Interval: Second, Window: 24 * Hour},
		},
		Paths:   Paths{Max: 1000, HostsMax: 100, Raw: "on"},
		Metrics: Metrics{PathsMax: 100},
		OTLP:    OTLP{Interval: Minute},
		Archive: Archive{
			After: Hour, Schedule: "0 * * * *", ObjectBytes: 8 * MiB, Timeout: Minute, Expire: 720 * Hour,
		},
		Retention: Retention{Events: 72 * Hour, Schedule: "0 3 * * *"},
		Report:    Report{Schedule: "0 4 * * *", WarnDays: 7},
		Prune:     Prune{Schedule: "0 5 * * 0"},
	}
}
