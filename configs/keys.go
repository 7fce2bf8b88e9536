package configs

import (
	"slices"
	"strings"
)

// This file contains the table of the keys of the whole configuration. The keys of list elements are in the files of their sections:
// tls.go, routes.go, upstreams.go. Everything else about keys is derived from these tables; see the package comment. CONTRIBUTING.md
// lists what a new key needs.

// Key describes one configuration key.
type Key struct {
	Path    string // as in the file: archive.after
	Env     string // environment variable: WAYSIDE_ARCHIVE_AFTER; empty if only the file can set it
	Flag    string // flag of `wayside run`; empty if there is none
	Type    string // text, number, percentage, duration, size, list, secret, "true or false", mapping, list of mappings
	Allowed string // range of a number, duration or size, such as "1ms to 2s"; empty if there are no limits or Doc describes them
	Default string // as it is written in the file; empty if there is none
	Doc     string // what the key does, and what that costs
	Effect  Effect // when a new value takes effect after a reload
}

// Keys returns all keys in the order of the documentation.
func Keys() []Key {
	c := Default()
	t := table(&c)
	keys := make([]Key, 0, len(t))
	for _, k := range t {
		env := envName(k.path)
		if structured(k.field) {
			env = ""
		}
		keys = append(keys, Key{
			Path: k.path, Env: env, Flag: flagNames[k.path],
			Type: typeName(k.field), Allowed: k.check.allowed, Default: text(k.field), Doc: k.doc, Effect: effectOf(k.path),
		})
	}
	return keys
}

// key binds a key to the field that contains its value.
type key struct {
	path  string
	field any // pointer into a Config: *string, *Secret, *[]string, *bool, *int, *Duration, *Bytes, or a type that [structured] accepts
	doc   string
	check check
}

// problem says what is wrong with the key's value and what to do; it is empty if the value is right. validator.elements checks lists.
func (k *key) problem() string {
	if msg := checkType(k.field); msg != "" || k.check.problem == nil {
		return msg
	}
	return k.check.problem(k.field)
}

// shorthand maps a section that is written as a plain value to the key that it sets: `data: /data` is short for `data: {dir: /data}`. The
// environment and flags have the same shorthands; for example, WAYSIDE_TLS_CERT corresponds to --tls-cert.
var shorthand = map[string]string{
	"data": "data.dir", "archive": "archive.url", "admin": "admin.listen", "tls.cert": "tls.cert_file", "tls.key": "tls.key_file",
}

// flagNames maps keys to the flags of `wayside run` that set them.
var flagNames = map[string]string{
	"listen": "--listen", "upstream": "--upstream", "admin.listen": "--admin", "data.dir": "--data",
	"tls.cert_file": "--tls-cert", "tls.key_file": "--tls-key",
	"archive.url": "--archive", "collector.enabled": "--no-collector", "service": "--service", "instance": "--instance",
	"log.level": "--log-level", "log.format": "--log-format",
}

// upstreamKey is the only list key whose value in the file may also be a single string.
const upstreamKey = "upstream"

// envPrefix is the prefix of wayside's environment variables.
const envPrefix = "WAYSIDE_"

// envName returns the environment variable for a key, or for a section's shorthand.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// table binds every key to its field in c.
func table(c *Config) []key {
	return slices.Concat(mainKeys(c), tlsKeys(c), routingKeys(c), proxyKeys(c), fieldKeys(c), recordKeys(c), booksKeys(c), archiveKeys(c), otlpKeys(c))
}

func mainKeys(c *Config) []key {
	return []key{
		{"listen", &c.Listen, "Address on which the proxy accepts traffic.", textCheck(checkAddress)},
		{upstreamKey, &c.Upstream, "The service behind the proxy: `http://host:port`, `https://host:port`, `h2c://host:port` (HTTP/2 without TLS, which most gRPC servers use) or `unix:///path`. In a list of several, the servers share the load. Required by `wayside run`, unless `routes` is set.", textCheck(checkUpstream)},
		{"service", &c.Service, "Name of the service in archived events, at most 128 characters. The default is the value of `OTEL_SERVICE_NAME` or, if that is not set, `wayside`.", optional(checkName)},
		{"instance", &c.Instance, "Name of this instance in archived events, at most 128 characters. The default is the host name.", optional(checkName)},
		{"data.dir", &c.Data.Dir, "Data directory. Short form: `data: DIR`.", textCheck(checkFilled)},
		{"data.bytes_max", &c.Data.BytesMax, "Maximum size of the spool, the store, the quarantine and a local archive together. When it is reached, wayside stops applying events, which then wait in the spool until the spool is full as well. The maximum must leave room for the journal and the store (64MiB by default). 0 = no limit.", atLeast[Bytes](0)},
		{"data.free_min", &c.Data.FreeMin, "Space to keep free on the filesystem. If less is free, wayside stops applying events. The default is at most an eighth of the filesystem. 0 = no limit.", atLeast[Bytes](0)},
		{"admin.listen", &c.Admin.Listen, "Address of the admin listener: dashboard, API, metrics. Any address that is not on loopback requires a token. Short form: `admin: ADDRESS`.", textCheck(checkAddress)},
		{"admin.hosts", &c.Admin.Hosts, "Host names that requests to the admin listener may use, in addition to IP addresses and localhost. wayside refuses all others, which prevents DNS rebinding.", textCheck(checkHostName)},
		{"admin.token", &c.Admin.Token, "Bearer token that the admin listener requires, 8 to 1,024 characters. It is better to keep it in a file: see `admin.token_file`. Empty = none.", check{}},
		{"admin.token_file", &c.Admin.TokenFile, "File that contains the token.", check{}},
		{"admin.probes", &c.Admin.Probes, "A second address that serves only /livez, /readyz and /metrics, without asking for a token. Details and the metrics of individual paths are shown only to clients that send the token. Empty = none.", optional(checkAddress)},
		{"admin.pprof", &c.Admin.PProf, "Serve profiles of the traffic process at /debug/pprof/ on the admin listener. While a profile is being recorded, requests are slightly slower.", check{}},
		{"log.level", &c.Log.Level, "`debug`, `info`, `warn` or `error`.", oneOf("debug", "info", "warn", "error")},
		{"log.format", &c.Log.Format, "`json`, `text`, or `auto`: text on a terminal, JSON elsewhere.", oneOf("auto", "json", "text")},
		{"log.access", &c.Log.Access, "Write one JSON line per response to standard output, with the field names of the archive. If the reader is slow, lines are lost and counted; requests never wait.", check{}},
		{"shutdown.timeout", &c.Shutdown.Timeout, "Maximum time from SIGTERM to exit. During this time, requests finish, the spool is drained, and events are archived. Events that have not been archived by then stay in the data directory.", atLeast(Millisecond)},
		{"shutdown.delay", &c.Shutdown.Delay, "After SIGTERM, continue to serve for this long but report \"not ready\", which gives load balancers time to notice. It is part of `shutdown.timeout` and must be shorter.", atLeast[Duration](0)},
	}
}

func routingKeys(c *Config) []key {
	return []key{
		{groupsKey, &c.Upstreams, "Groups of servers by name, for `routes`; use it instead of `upstream`. A group is written as the URL of its only server, or as a mapping with the keys in the table below.", check{}},
		{routesKey, &c.Routes, "Where requests go: an ordered list. The first route that matches a request is used; if none matches, the response is 404. The table below lists the keys of a route.", check{}},
	}
}

func proxyKeys(c *Config) []key {
	p := &c.Proxy
	return []key{
		{"proxy.driver", &p.Driver, "How wayside serves connections. `loop`: one event loop per CPU serves many connections, which takes the least CPU time. `goroutine`: each connection has its own goroutine, which is slower but easier to follow in a profile. `auto`: the same as `loop`.", oneOf("auto", "loop", "goroutine")},
		{"proxy.header_timeout", &p.HeaderTimeout, "Maximum time for a client to send the header of a request; after that, the response is 408.", atLeast(100 * Millisecond)},
		{"proxy.read_timeout", &p.ReadTimeout, "Maximum time that a client may pause while it sends the body of a request; after that, the response is 408. For clients that keep sending, but only a little at a time, see `proxy.body_rate_min`.", atLeast(100 * Millisecond)},
		{"proxy.idle_timeout", &p.IdleTimeout, "How long a client's connection is kept open between requests. With a longer time, clients open fewer new connections, but each idle connection takes memory and a descriptor.", atLeast(100 * Millisecond)},
		{"proxy.write_timeout", &p.WriteTimeout, "Maximum time that a client may pause while it receives a response. After that, wayside closes the connection.", atLeast(100 * Millisecond)},
		{"proxy.connect_timeout", &p.ConnectTimeout, "Maximum time to connect to the upstream, including the lookup of its name; after that, the response is 504.", atLeast(Millisecond)},
		{"proxy.response_timeout", &p.ResponseTimeout, "Maximum wait for the header of the upstream's response; after that, the response is 504. It must be longer than the time that the service needs for its slowest request. 0 = no limit.", orZero(atLeast(Millisecond))},
		{"proxy.body_timeout", &p.BodyTimeout, "Maximum time that the upstream may pause while it sends the body of a response. It must be longer than the pauses in event streams. 0 = no limit.", orZero(atLeast(Millisecond))},
		{"proxy.total_timeout", &p.TotalTimeout, "Maximum time from the first byte sent to the upstream until the last byte received from it. It also ends downloads by slow clients. Event streams and upgraded connections are exempt. 0 = no limit.", orZero(atLeast(Millisecond))},
		{"proxy.tunnel_timeout", &p.TunnelTimeout, "Maximum time that an upgraded connection, such as a WebSocket, may be idle in both directions; after that, wayside closes it. 0 = no limit.", orZero(atLeast(Millisecond))},
		{"proxy.tunnel_half_closed_timeout", &p.TunnelHalfClosedTimeout, "Maximum idle time of an upgraded connection after one side has finished sending. Often, that side has disconnected, and the other has not noticed. 0 = only `proxy.tunnel_timeout` applies.", orZero(atLeast(Millisecond))},
		{"proxy.upstream_idle", &p.UpstreamIdle, "How long an unused upstream connection is kept open. This must be shorter than the keep-alive time of the service. Otherwise, the service could close a connection at the moment at which wayside sends a request over it.", atLeast(Millisecond)},
		{"proxy.upstream_conns_max", &p.UpstreamConnsMax, "Maximum number of connections to the upstream; further requests wait (`proxy.upstream_wait`). One client address may use at most 58 % of them; trusted proxies are exempt. 0 = derived from the memory and descriptors of the process, at most 4096.", atLeast(0)},
		{"proxy.upstream_wait", &p.UpstreamWait, "Maximum wait for a free upstream connection; after that, the response is 503.", atLeast(Millisecond)},
		{"proxy.upstream_resolve", &p.UpstreamResolve, "Time between two lookups of the upstream's name. Connections to addresses that the name no longer resolves to are not used again. 0 = look up the name only for new connections.", orZero(atLeast(Second))},
		{"proxy.header_bytes_max", &p.HeaderBytesMax, "Maximum size of a request header; the response to a larger one is 431.", between(KiB, MiB)},
		{"proxy.response_header_bytes_max", &p.ResponseHeaderBytesMax, "Maximum size of a response header from the upstream; if it is larger, the client gets 502. A larger limit takes more memory only for responses whose header is larger than 16KiB.", between(KiB, MiB)},
		{"proxy.body_bytes_max", &p.BodyBytesMax, "Maximum size of a request body; the response to a larger one is 413. 0 = no limit.", atLeast[Bytes](0)},
		{"proxy.http2", &p.HTTP2, "Speak HTTP/2 with clients: over TLS if they offer it (ALPN), and in cleartext if they begin with it (prior knowledge). Other clients are not affected. A reload that changes this key or the limits below affects only new connections.", check{}},
		{"proxy.http2_streams_max", &p.HTTP2StreamsMax, "Maximum number of concurrent requests on an HTTP/2 connection. Further requests are refused, and clients send them again. A request counts until its response has ended, even if the client has canceled it.", between(1, 10_000)},
		{"proxy.http2_window_bytes", &p.HTTP2WindowBytes, "How much of a request body wayside receives over HTTP/2 before it can pass the data on to the upstream. All requests on a connection together may use eight times as much. A larger window makes uploads over long distances faster. These bytes count towards `proxy.held_bytes_max`.", between(64*KiB, 64*MiB)},
		{"proxy.http2_resets_max", &p.HTTP2ResetsMax, "How many requests per second a client may cancel on an HTTP/2 connection, including those that fail because of the client's own errors; five times as many in a burst. Beyond that, wayside closes the connection (ENHANCE_YOUR_CALM).", between(1, 1_000_000)},
		{"proxy.http2_frames_max", &p.HTTP2FramesMax, "How many frames without content (PING, SETTINGS, WINDOW_UPDATE, empty DATA and others) an HTTP/2 connection may send per second, in addition to the frames that its requests and responses account for; ten times as many in a burst. Beyond that, wayside closes the connection (ENHANCE_YOUR_CALM).", between(1, 1_000_000)},
		{"proxy.body_rate_min", &p.BodyRateMin, "Minimum average rate, in bytes per second, at which a client must send a request body once `proxy.read_timeout` has passed; slower clients get 408. 0 = no limit.", atLeast[Bytes](0)},
		{"proxy.conns_max", &p.ConnsMax, "Maximum number of client connections, and of HTTP/2 requests in progress; any others are refused and counted. One client address may have at most 58 % of them; trusted proxies are exempt. 0 = derived from the memory and descriptors of the process.", atLeast(0)},
		{"proxy.held_bytes_max", &p.HeldBytesMax, "Maximum number of bytes in unfinished headers and buffered bodies of all clients together, not counting the first 4KiB of each; beyond that, the response is 503. 0 = a sixteenth of the memory of the process.", atLeast[Bytes](0)},
		{"proxy.address_conns_max", &p.AddressConnsMax, "Maximum number of connections from one client address (an IPv6 /64 counts as one); trusted proxies are exempt. It also limits users who share one address. 0 = only the limit of `proxy.conns_max`.", atLeast(0)},
		{"proxy.trusted_proxies", &p.TrustedProxies, "Addresses or networks (10.0.0.0/8) of proxies that you trust. wayside keeps the X-Forwarded-* fields in their requests, and takes the client's address for events from X-Forwarded-For (or, without it, from Forwarded). Anyone at these addresses can claim to be any client.", textCheck(checkNetwork)},
		{"proxy.pass_fields", &p.PassFields, "Forwarding fields, such as `CF-Connecting-IP`, that are passed on from every client, not only from `proxy.trusted_proxies`. Any client can then set them. docs/HTTP.md lists the fields that are removed otherwise.", textCheck(checkPassedField)},
		{"proxy.via", &p.Via, "Add Via to requests. If the upstream is nginx, it does not compress responses to requests with Via unless `gzip_proxied` allows this.", check{}},
		{"proxy.server_timing", &p.ServerTiming, "Add a Server-Timing field to responses: `upstream;dur=`, the milliseconds until the upstream's first byte. Every client can see it.", check{}},
	}
}

func fieldKeys(c *Config) []key {
	p := &c.Proxy
	return []key{
		{"proxy.request_fields.set", &p.RequestFields.Set, "Fields to set in requests to the upstream, as `Name: value`. They replace fields of the same name. `${tls_client_name}` in a value stands for the name in the client's verified certificate; if the client has presented none, the field is left out.", textCheck(checkSetRequestField)},
		{"proxy.request_fields.add", &p.RequestFields.Add, "Fields to add to requests. Existing fields of the same name are kept.", textCheck(checkAddedField)},
		{"proxy.request_fields.remove", &p.RequestFields.Remove, "Names of fields to remove from requests.", textCheck(checkRemovedField)},
		{"proxy.response_fields.set", &p.ResponseFields.Set, "Fields to set in responses to the client, including responses that wayside makes itself. They replace fields of the same name.", textCheck(checkSetResponseField)},
		{"proxy.response_fields.add", &p.ResponseFields.Add, "Fields to add to responses. Existing fields of the same name are kept.", textCheck(checkAddedField)},
		{"proxy.response_fields.remove", &p.ResponseFields.Remove, "Names of fields to remove from responses.", textCheck(checkRemovedField)},
	}
}

func recordKeys(c *Config) []key {
	r := &c.Record
	return []key{
		{"record.exclude.paths", &r.Exclude.Paths, "Paths whose responses are not recorded, but only counted as excluded. A `*` at the end makes the path a prefix. The path can be followed by a space and a prefix of the user agent; then both must match: `/healthz kube-probe/`.", textCheck(checkExcludedPath)},
		{"record.exclude.user_agents", &r.Exclude.UserAgents, "Prefixes of user agents, such as `kube-probe/`: responses to these clients are not recorded. Any client can send such a user agent to avoid being recorded. For probes, it is safer to set the path as well, in `record.exclude.paths`.", textCheck(checkExcludedAgent)},
		{"record.client_address", &r.ClientAddress, "`masked` (IPv4 truncated to /24, IPv6 to /48), `full` or `off`. A full address is personal data in most jurisdictions.", oneOf("masked", "full", "off")},
		{"record.request_id", &r.RequestID, "Record the X-Request-ID of every response. These IDs compress poorly, so the store and the archive become larger. The IDs of responses that wayside makes itself, such as a 502, are always recorded.", check{}},
		{"record.trace_id", &r.TraceID, "Record the trace ID from `traceparent` with each event (22 bytes each in the archive).", check{}},
	}
}

func booksKeys(c *Config) []key {
	s, b, p := &c.Spool, &c.Collector, &c.Paths
	return []key{
		{"spool.sync", &s.Sync, "`interval`: a power loss costs at most the events of the last `spool.commit_interval`, and of the fsync after it. `request`: each response waits until its event is on disk, so nothing is lost, but every request takes at least one fsync longer.", oneOf("interval", "request")},
		{"spool.commit_interval", &s.CommitInterval, "Maximum time until a new event is on disk, not counting the fsync itself. With a shorter time, a power loss costs fewer events, but wayside writes more often.", between(Millisecond, 2*Second)},
		{"spool.segment_bytes", &s.SegmentBytes, "Size of one journal segment, a multiple of 4KiB. If it is larger than an eighth of `spool.bytes_max`, wayside uses an eighth.", segmentSize()},
		{"spool.segments", &s.Segments, "Number of journal segments. With more segments, the journal absorbs more traffic during a slow fsync, but takes more memory and disk space.", between(2, 64)},
		{"spool.bytes_max", &s.BytesMax, "Maximum size of the queue of events that the books process has not applied yet. When the queue is full, events are dropped and counted.", atLeast(MiB)},
		{"spool.age_max", &s.AgeMax, "Maximum time that events wait for the books process. After that, they are dropped, oldest first, and counted (`age`). Only the time during which wayside is running counts. 0 = no limit.", orZero(atLeast(Minute))},
		{"collector.enabled", &b.Enabled, "Start the books process. Set it to `false` (`--no-collector`) if you run `wayside collect` yourself.", check{}},
		{"collector.memory_bytes_max", &b.MemoryBytesMax, "Memory that the books process tries not to exceed. If it needs more, it spends more CPU time on garbage collection, and then exceeds this value a little.", atLeast(16 * MiB)},
		{"collector.drain_events", &b.DrainEvents, "Drain the spool as soon as this many events are waiting. In larger batches, each event costs less but appears later.", between(1, 1_000_000)},
		{"collector.drain_interval", &b.DrainInterval, "Drain the spool at least this often. With a shorter interval, events appear sooner, but there are more transactions.", between(Millisecond, 2*Second)},
		{"collector.nice", &b.Nice, "The nice value of the books process: how far it lets traffic go first when both need the CPU, from 0 (not at all) to 19 (as far as possible). If wayside was started with a higher nice value, the process keeps that value.", between(0, 19)},
		{"collector.snapshot.batches", &b.Snapshot.Batches, "Make a new snapshot after this many batches.", atLeast(1)},
		{"collector.snapshot.interval", &b.Snapshot.Interval, "Make a new snapshot at least this often while there is traffic.", between(Millisecond, Hour)},
		{"collector.snapshot.window", &b.Snapshot.Window, "Time range that the snapshot covers, counted in whole minutes. The snapshot itself states the exact range.", between(Hour, 366*24*Hour)},
		{"paths.max", &p.Max, "Maximum number of path templates (per host) with rows of their own; later ones are counted under `(other)`. Each template takes memory and disk space.", between(1, 100_000)},
		{"paths.hosts_max", &p.HostsMax, "Maximum number of hosts with rows of their own; all others are counted under `(other)`.", between(1, 100_000)},
		{"metrics.paths_max", &c.Metrics.PathsMax, "Maximum number of paths with their own latency histograms in /metrics; all others are added up under `(other)`. Each path makes /metrics longer.", between(1, 10_000)},
		{"paths.templates", &p.Templates, "Templates that take precedence over the built-in rules, such as `/users/{id}` or `/static/**`.", textCheck(checkTemplate)},
		{"paths.raw", &p.Raw, "With `off`, wayside records only the template of a path: the store and the archive never contain the path as the client sent it. wayside erases such paths from the spool every ten minutes, after it has applied the events. The access log (`log.access`) still contains them.", oneOf("on", "off")},
	}
}

func otlpKeys(c *Config) []key {
	o := &c.OTLP
	return []key{
		{"otlp.endpoint", &o.Endpoint, "URL of an OpenTelemetry collector, or of anything else that receives OTLP over HTTP, such as `http://collector:4318`. wayside appends `/v1/metrics` and `/v1/traces`. Empty = nothing is exported.", optional(checkOTLPEndpoint)},
		{"otlp.interval", &o.Interval, "Time between two exports of all metrics. With a shorter time, the collector sees changes sooner, but each export costs as much as a request for /metrics. 0 = no metrics.", orZero(between(Second, Hour))},
		{"otlp.spans", &o.Spans, "Percentage of the sampled traces for which wayside exports spans, one for each request. A trace is sampled if the client has set the sampled flag in `traceparent`. The event of each such request takes 31 more bytes in the spool. Spans can be lost. 0 = no spans.", between[Percent](0, 100)},
		{"otlp.headers_file", &o.HeadersFile, "File with header fields for the collector, one `Name: value` per line, such as `Authorization: Bearer …`.", check{}},
		{"otlp.ca_file", &o.CAFile, "File with PEM certificates to trust for the collector, in addition to those of the system.", check{}},
	}
}

func archiveKeys(c *Config) []key {
	a, r := &c.Archive, &c.Retention
	return []key{
		{"archive.url", &a.URL, "Where raw events go: `file:///dir` or `s3://bucket/prefix`. Both forms may contain `{service}` and `{instance}`. The default is `<data.dir>/archive`. Short form: `archive: URL`.", optional(checkArchiveURL)},
		{"archive.after", &a.After, "Archive an event this long after it was applied. Until it has been archived, the event exists only on this machine.", atLeast[Duration](0)},
		{"archive.schedule", &a.Schedule, "When to archive: a cron expression in UTC, or in another time zone (`TZ=Europe/Berlin 0 * * * *`), or `@every 10m`.", textCheck(checkSchedule)},
		{"archive.object_bytes", &a.ObjectBytes, "Compressed size at which an archive object ends. A larger size means fewer objects.", between(64*KiB, GiB)},
		{"archive.omit", &a.Omit, "Fields to omit from archived events: `url_path`, `client_address`, `upstream_address`, `network_protocol_version`.", textCheck(checkOmit)},
		{"archive.endpoint", &a.Endpoint, "S3 endpoint, such as `http://127.0.0.1:7070`; empty = AWS.", optional(checkEndpoint)},
		{"archive.region", &a.Region, "S3 region; empty = us-east-1.", optional(checkRegion)},
		{"archive.path_style", &a.PathStyle, "Put the bucket into the path of the URL, as MinIO, Garage and versitygw require.", check{}},
		{"archive.access_key_file", &a.AccessKeyFile, "File with the access key; empty = the usual AWS credential chain.", check{}},
		{"archive.secret_key_file", &a.SecretKeyFile, "File with the secret key.", check{}},
		{"archive.ca_file", &a.CAFile, "File with PEM certificates to trust for the S3 endpoint, in addition to those of the system.", check{}},
		{"archive.timeout", &a.Timeout, "A request to the archive fails if it transfers less than 4 KiB in this time. The time for the whole request is not limited.", atLeast(Millisecond)},
		{"retention.events", &r.Events, "Delete an event from local disk at this age, provided that its archived copy has been verified. If the value is below `archive.after`, an event is deleted as soon as its archived copy has been verified. With a longer time, more events are available for queries, but they take more disk space.", atLeast[Duration](0)},
		{"archive.expire", &a.Expire, "Delete raw events from a directory archive this long after they were archived; their statistics are kept. Only the time during which wayside is running counts. 0 = never. The default is 30d for the archive in the data directory, and 0 for one that `archive.url` names. wayside never deletes from a bucket: use the bucket's lifecycle rules.", atLeast[Duration](0)},
		{"report.schedule", &c.Report.Schedule, "When to write the capacity report, in the same form as `archive.schedule`.", textCheck(checkSchedule)},
		{"report.warn_days", &c.Report.WarnDays, "Warn if a limit will be reached within this many days at the current growth.", between(0, 3650)},
		{"prune.schedule", &c.Prune.Schedule, "When to remove data that is no longer needed, in the same form as `archive.schedule`.", textCheck(checkSchedule)},
		{"retention.schedule", &r.Schedule, "When to delete events, in the same form as `archive.schedule`.", textCheck(checkSchedule)},
	}
}
