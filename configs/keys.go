package configs

import (
	"slices"
	"strings"
)

// The table of all keys. Everything else about keys follows from it, see the package comment. A new key needs a field in Config, a line
// here, a default in Default, and its effect on a reload in reload.go.

// Key describes one configuration key.
type Key struct {
	Path    string // as in the file: archive.after
	Env     string // environment variable: WAYSIDE_ARCHIVE_AFTER; empty: only the file can set it
	Flag    string // flag of wayside run; empty: none
	Type    string // text, number, percentage, duration, size, list, secret, "true or false", mapping, list of mappings
	Allowed string // range of a number, duration or size, such as "1ms to 2s"; empty: no limits, or Doc has them
	Default string // in the form in which it is written; empty: nothing
	Doc     string // what it does, and what it costs
	Effect  Effect // when a reload applies a new value

	Unsupported bool // a configuration that sets it is refused, because this version does not act on it
}

// Keys returns all keys in the order in which they are documented.
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
			Unsupported: isUnsupported(k.path),
		})
	}
	return keys
}

// key ties a key to the field that holds it.
type key struct {
	path  string
	field any // pointer into a Config: *string, *Secret, *[]string, *bool, *int, *Duration, *Bytes, or one that [structured] knows
	doc   string
	check check
}

// problem says what is wrong with the key's value and what to do; empty: nothing. Lists are checked by validator.elements.
func (k *key) problem() string {
	if msg := checkType(k.field); msg != "" || k.check.problem == nil {
		return msg
	}
	return k.check.problem(k.field)
}

// shorthand maps a section that is written as a plain value to the key that it sets: `data: /data` is `data: {dir: /data}`. The same holds in
// the environment and in flags. WAYSIDE_TLS_CERT is the variable of --tls-cert.
var shorthand = map[string]string{
	"data": "data.dir", "archive": "archive.url", "admin": "admin.listen", "tls.cert": "tls.cert_file", "tls.key": "tls.key_file",
}

// flagNames are the flags of wayside run that set a key.
var flagNames = map[string]string{
	"listen": "--listen", "upstream": "--upstream", "admin.listen": "--admin", "data.dir": "--data",
	"tls.cert_file": "--tls-cert", "tls.key_file": "--tls-key",
	"archive.url": "--archive", "collector.enabled": "--no-collector", "service": "--service", "instance": "--instance",
	"log.level": "--log-level", "log.format": "--log-format",
}

// upstreamKey is the only list that the file can have as a plain value, too.
const upstreamKey = "upstream"

// envPrefix begins the names of wayside's environment variables.
const envPrefix = "WAYSIDE_"

// envName returns the environment variable of a key, or of a section's shorthand.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// table binds every key to its field in c.
func table(c *Config) []key {
	return slices.Concat(mainKeys(c), tlsKeys(c), routingKeys(c), proxyKeys(c), fieldKeys(c), recordKeys(c), booksKeys(c), archiveKeys(c))
}

func mainKeys(c *Config) []key {
	return []key{
		{"listen", &c.Listen, "Address on which the proxy accepts traffic.", textCheck(checkAddress)},
		{upstreamKey, &c.Upstream, "The service behind the proxy: `http://host:port` or `unix:///path`; a list of them shares the load. Required by `wayside run`, unless there are `routes`.", textCheck(checkUpstream)},
		{"service", &c.Service, "Name of the service in archived events; otherwise `OTEL_SERVICE_NAME`, otherwise `wayside`. At most 128 characters.", optional(checkName)},
		{"instance", &c.Instance, "Name of this instance in archived events; otherwise the host name. At most 128 characters.", optional(checkName)},
		{"data.dir", &c.Data.Dir, "Data directory. `data: DIR` is short for it.", textCheck(checkFilled)},
		{"data.bytes_max", &c.Data.BytesMax, "Most bytes that spool, store, quarantine and local archive may take together. Beyond it wayside stops applying events; they wait in the spool until that is full, too. Must leave room for journal and store (64MiB by default). 0 = no limit.", atLeast[Bytes](0)},
		{"data.free_min", &c.Data.FreeMin, "Free space to leave on the filesystem; below it wayside stops applying events. If it is not set, at most an eighth of the filesystem. 0 = no limit.", atLeast[Bytes](0)},
		{"admin.listen", &c.Admin.Listen, "Address of the admin listener: dashboard, API, metrics. Beyond loopback it needs a token. `admin: ADDRESS` is short for it.", textCheck(checkAddress)},
		{"admin.hosts", &c.Admin.Hosts, "Host names that requests to the admin listener may have, in addition to addresses and localhost. It refuses all others, which prevents DNS rebinding.", textCheck(checkHostName)},
		{"admin.token", &c.Admin.Token, "Bearer token that the admin listener requires, 8 to 1,024 characters; empty = none. It is better kept in a file, see `admin.token_file`.", check{}},
		{"admin.token_file", &c.Admin.TokenFile, "File that holds the token.", check{}},
		{"admin.probes", &c.Admin.Probes, "Second address, which serves only /livez, /readyz and /metrics, to everyone. Details and metrics of single paths need the token. Empty = none.", optional(checkAddress)},
		{"admin.pprof", &c.Admin.PProf, "Serve profiles of the traffic process at /debug/pprof/ of the admin listener. While a profile is taken, requests are a little slower.", check{}},
		{"log.level", &c.Log.Level, "`debug`, `info`, `warn` or `error`.", oneOf("debug", "info", "warn", "error")},
		{"log.format", &c.Log.Format, "`json`, `text`, or `auto`: text on a terminal, JSON elsewhere.", oneOf("auto", "json", "text")},
		{"log.access", &c.Log.Access, "Write one JSON line per response to standard output, with the field names of the archive. If the reader is slow, lines are lost and counted; requests never wait.", check{}},
		{"shutdown.timeout", &c.Shutdown.Timeout, "Longest time from SIGTERM to exit: finishing requests, draining and archiving. What is not archived by then stays in the data directory.", atLeast(Millisecond)},
		{"shutdown.delay", &c.Shutdown.Delay, "Continue to serve for this long after SIGTERM, while not ready, so that load balancers notice. It is part of `shutdown.timeout` and must be less.", atLeast[Duration](0)},
	}
}

func routingKeys(c *Config) []key {
	return []key{
		{groupsKey, &c.Upstreams, "Groups of servers by name, for `routes`, instead of `upstream`. A group is the URL of its only server, or has the keys of the table below.", check{}},
		{routesKey, &c.Routes, "Where requests go: a list, of which the first route that matches is used. If none matches, the response is 404. The table below has the keys of a route.", check{}},
	}
}

func proxyKeys(c *Config) []key {
	p := &c.Proxy
	return []key{
		{"proxy.driver", &p.Driver, "How wayside waits for connections. `loop`: an event loop for each processor serves many connections, which costs least. `goroutine`: a goroutine for each connection; slower, and easier to see in a profile. `auto`: `loop`.", oneOf("auto", "loop", "goroutine")},
		{"proxy.header_timeout", &p.HeaderTimeout, "Longest time for a client to send a request's header; then 408.", atLeast(100 * Millisecond)},
		{"proxy.read_timeout", &p.ReadTimeout, "Longest pause of a client while it sends a request's body; then 408. For clients that send a little at a time see `proxy.body_rate_min`.", atLeast(100 * Millisecond)},
		{"proxy.idle_timeout", &p.IdleTimeout, "How long a client's connection is kept between requests. Longer saves clients new connections, and costs memory and a descriptor for each.", atLeast(100 * Millisecond)},
		{"proxy.write_timeout", &p.WriteTimeout, "Longest pause of a client while it receives a response.", atLeast(100 * Millisecond)},
		{"proxy.connect_timeout", &p.ConnectTimeout, "Longest time to connect to the upstream, with the lookup of its name; then 504.", atLeast(Millisecond)},
		{"proxy.response_timeout", &p.ResponseTimeout, "Longest wait for the upstream's response header; then 504. It must be longer than the slowest request of the service. 0 = no limit.", orZero(atLeast(Millisecond))},
		{"proxy.body_timeout", &p.BodyTimeout, "Longest pause of the upstream within a response's body. It must be longer than the pauses of event streams. 0 = no limit.", orZero(atLeast(Millisecond))},
		{"proxy.total_timeout", &p.TotalTimeout, "Longest time for a whole exchange, from the first byte to the upstream to the last from it. It also ends downloads of slow clients. Event streams and upgraded connections are exempt. 0 = no limit.", orZero(atLeast(Millisecond))},
		{"proxy.tunnel_timeout", &p.TunnelTimeout, "Longest silence on an upgraded connection (WebSocket), over both directions. 0 = no limit.", orZero(atLeast(Millisecond))},
		{"proxy.tunnel_half_closed_timeout", &p.TunnelHalfClosedTimeout, "Longest silence on an upgraded connection after one side has ended its direction: that side is often gone, and the other does not notice. 0 = only the limit of `proxy.tunnel_timeout`.", orZero(atLeast(Millisecond))},
		{"proxy.upstream_idle", &p.UpstreamIdle, "How long an unused upstream connection is kept. It must be less than the keep-alive time of the service, which otherwise closes connections that are just being used.", atLeast(Millisecond)},
		{"proxy.upstream_conns_max", &p.UpstreamConnsMax, "Most connections to the upstream; beyond it requests wait (`proxy.upstream_wait`). One client address may use at most 58 % of them; trusted proxies are exempt. 0 = from the memory and descriptors of the process, at most 4096.", atLeast(0)},
		{"proxy.upstream_wait", &p.UpstreamWait, "Longest wait for a free upstream connection; then 503.", atLeast(Millisecond)},
		{"proxy.upstream_resolve", &p.UpstreamResolve, "Time between two lookups of the upstream's name. Connections to addresses that it no longer has are not used again. 0 = look it up only for new connections.", orZero(atLeast(Second))},
		{"proxy.header_bytes_max", &p.HeaderBytesMax, "Largest request header; beyond it 431.", between(KiB, MiB)},
		{"proxy.response_header_bytes_max", &p.ResponseHeaderBytesMax, "Largest header of a response; beyond it 502. Only responses with more than 16KiB use more memory.", between(KiB, MiB)},
		{"proxy.body_bytes_max", &p.BodyBytesMax, "Largest request body; beyond it 413. 0 = no limit.", atLeast[Bytes](0)},
		{"proxy.http2", &p.HTTP2, "Speak HTTP/2 with clients: over TLS if they offer it (ALPN), in cleartext if they begin with it (prior knowledge). Other clients are not affected. The limits below apply to new connections.", check{}},
		{"proxy.http2_streams_max", &p.HTTP2StreamsMax, "Requests that an HTTP/2 connection may have at the same time; further ones are refused, and clients send them again. A request counts until its response has ended, even if the client has cancelled it.", between(1, 10_000)},
		{"proxy.http2_window_bytes", &p.HTTP2WindowBytes, "Bytes of a request's body that wayside receives over HTTP/2 before the upstream takes them. All requests of a connection together: eight times as many. More makes uploads over long distances faster. They count in `proxy.held_bytes_max`.", between(64*KiB, 64*MiB)},
		{"proxy.http2_resets_max", &p.HTTP2ResetsMax, "Requests a second that an HTTP/2 connection may cancel, or end by an error of its client; five times as many at once. Beyond it the connection is closed (ENHANCE_YOUR_CALM).", between(1, 1_000_000)},
		{"proxy.http2_frames_max", &p.HTTP2FramesMax, "Frames without content a second (PING, SETTINGS, WINDOW_UPDATE, empty DATA and others) that an HTTP/2 connection may send beyond those that its requests and responses explain; ten times as many at once. Beyond it the connection is closed (ENHANCE_YOUR_CALM).", between(1, 1_000_000)},
		{"proxy.body_rate_min", &p.BodyRateMin, "Bytes a second that a client must send of a request's body on average, once `proxy.read_timeout` has passed; slower ones get 408. 0 = no limit.", atLeast[Bytes](0)},
		{"proxy.conns_max", &p.ConnsMax, "Most client connections, and as many requests over HTTP/2 in progress; beyond it they are refused and counted. One client address may have at most 58 % of them; trusted proxies are exempt. 0 = from the memory and descriptors of the process.", atLeast(0)},
		{"proxy.held_bytes_max", &p.HeldBytesMax, "Most bytes of unfinished headers and buffered bodies of all clients together, without the first 4KiB of each; beyond it 503. 0 = a sixteenth of the memory of the process.", atLeast[Bytes](0)},
		{"proxy.address_conns_max", &p.AddressConnsMax, "Most connections from one client address (an IPv6 /64 counts as one); trusted proxies are exempt. It also limits users behind one shared address. 0 = only the limit of `proxy.conns_max`.", atLeast(0)},
		{"proxy.trusted_proxies", &p.TrustedProxies, "Addresses or networks (10.0.0.0/8) whose X-Forwarded-* fields are kept. Events name the client that X-Forwarded-For (or, without it, Forwarded) reports. A client from there can claim any address.", textCheck(checkNetwork)},
		{"proxy.pass_fields", &p.PassFields, "Forwarding fields, such as `CF-Connecting-IP`, that are passed on from every client, not only from `proxy.trusted_proxies`. Any client can then set them; docs/HTTP.md lists the fields that are removed otherwise.", textCheck(checkPassedField)},
		{"proxy.via", &p.Via, "Add Via to requests. nginx as the upstream does not compress for a request that has it, unless `gzip_proxied` says so.", check{}},
		{"proxy.server_timing", &p.ServerTiming, "Add a Server-Timing field to responses: `upstream;dur=`, milliseconds to the upstream's first byte. Every client can see it.", check{}},
	}
}

func fieldKeys(c *Config) []key {
	p := &c.Proxy
	return []key{
		{"proxy.request_fields.set", &p.RequestFields.Set, "Fields to set in requests to the upstream, as `Name: value`. They replace fields of the same name. `${tls_client_name}` in a value is the name in the client's verified certificate; without one, the field is left out.", textCheck(checkSetRequestField)},
		{"proxy.request_fields.add", &p.RequestFields.Add, "Fields to add to requests. Fields of the same name stay.", textCheck(checkAddedField)},
		{"proxy.request_fields.remove", &p.RequestFields.Remove, "Names of fields to remove from requests.", textCheck(checkRemovedField)},
		{"proxy.response_fields.set", &p.ResponseFields.Set, "Fields to set in responses to the client, wayside's own included. They replace fields of the same name.", textCheck(checkSetResponseField)},
		{"proxy.response_fields.add", &p.ResponseFields.Add, "Fields to add to responses. Fields of the same name stay.", textCheck(checkAddedField)},
		{"proxy.response_fields.remove", &p.ResponseFields.Remove, "Names of fields to remove from responses.", textCheck(checkRemovedField)},
	}
}

func recordKeys(c *Config) []key {
	r := &c.Record
	return []key{
		{"record.exclude.paths", &r.Exclude.Paths, "Paths whose responses are not recorded, only counted as excluded. A trailing `*` makes a prefix. After a space, a prefix of the user agent that must match too: `/healthz kube-probe/`.", textCheck(checkExcludedPath)},
		{"record.exclude.user_agents", &r.Exclude.UserAgents, "Prefixes of user agents whose responses are not recorded, such as `kube-probe/`. Any client can send one and is then not recorded: for probes, name the path as well (`record.exclude.paths`).", textCheck(checkExcludedAgent)},
		{"record.client_address", &r.ClientAddress, "`masked` (IPv4 cut to /24, IPv6 to /48), `full` or `off`. A full address is personal data in most jurisdictions.", oneOf("masked", "full", "off")},
		{"record.request_id", &r.RequestID, "Record the X-Request-ID of every response. Ids hardly compress, so store and archive grow. wayside's own answers, such as a 502, always have theirs.", check{}},
		{"record.trace_id", &r.TraceID, "Record the trace id of `traceparent` with each event (22 bytes each in the archive).", check{}},
	}
}

func booksKeys(c *Config) []key {
	s, b, p := &c.Spool, &c.Collector, &c.Paths
	return []key{
		{"spool.sync", &s.Sync, "`interval`: power loss costs at most the commit window. `request`: each response waits until its event is on disk, so nothing is lost, and every request takes at least one fsync longer.", oneOf("interval", "request")},
		{"spool.commit_interval", &s.CommitInterval, "Longest time from an event to its fsync. Shorter loses less at power loss and costs more writes.", between(Millisecond, 2*Second)},
		{"spool.segment_bytes", &s.SegmentBytes, "Size of one journal segment, a multiple of 4KiB; at most an eighth of `spool.bytes_max` is used.", segmentSize()},
		{"spool.segments", &s.Segments, "Number of journal segments. More of them absorb more traffic while one fsync is slow, and cost memory and disk.", between(2, 64)},
		{"spool.bytes_max", &s.BytesMax, "Most bytes of the queue while the books process is away; beyond it events are dropped and counted.", atLeast(MiB)},
		{"spool.age_max", &s.AgeMax, "Longest time that events wait for the books process. Then they are dropped, oldest first, and counted (`age`). Time in which wayside does not run does not count. 0 = no limit.", orZero(atLeast(Minute))},
		{"collector.enabled", &b.Enabled, "Start the books process. Switch it off (`--no-collector`) if you run `wayside collect` yourself.", check{}},
		{"collector.memory_bytes_max", &b.MemoryBytesMax, "Memory that the books process aims to stay below. If it needs more, garbage collection takes more processor time, and then it exceeds this a little.", atLeast(16 * MiB)},
		{"collector.drain_events", &b.DrainEvents, "Drain the spool once this many events wait. More events in a batch cost less each, and appear later.", between(1, 1_000_000)},
		{"collector.drain_interval", &b.DrainInterval, "Drain the spool at least this often. Shorter shows events sooner and costs more transactions.", between(Millisecond, 2*Second)},
		{"collector.nice", &b.Nice, "The nice value of the books process: how much it yields to traffic when both need the processor; 0 not at all, 19 most. A process that was started with a higher nice value keeps it.", between(0, 19)},
		{"collector.snapshot.batches", &b.Snapshot.Batches, "Make a new snapshot after this many batches.", atLeast(1)},
		{"collector.snapshot.interval", &b.Snapshot.Interval, "Make a new snapshot at least this often while there is traffic.", between(Millisecond, Hour)},
		{"collector.snapshot.window", &b.Snapshot.Window, "Time range of the snapshot. Statistics are hourly, so it begins at a full hour and says which.", between(Hour, 366*24*Hour)},
		{"paths.max", &p.Max, "Most path templates (per host) with rows of their own; later ones are counted under `(other)`. Each costs memory and disk.", between(1, 100_000)},
		{"paths.hosts_max", &p.HostsMax, "Most hosts with rows of their own; the rest is counted under `(other)`.", between(1, 100_000)},
		{"metrics.paths_max", &c.Metrics.PathsMax, "Most paths with their own latency histograms in /metrics; the rest is added up under `(other)`. Each makes /metrics longer.", between(1, 10_000)},
		{"paths.templates", &p.Templates, "Templates that take precedence over the built-in rules, such as `/users/{id}` or `/static/**`.", textCheck(checkTemplate)},
		{"paths.raw", &p.Raw, "`off` records only the template of a path: store and archive never contain a path as requested, and it is removed from the spool. `log.access` still writes it.", oneOf("on", "off")},
	}
}

func archiveKeys(c *Config) []key {
	a, r := &c.Archive, &c.Retention
	return []key{
		{"archive.url", &a.URL, "Where raw events go: `file:///dir` or `s3://bucket/prefix`, which may contain `{service}` and `{instance}`; otherwise `<data.dir>/archive`. `archive: URL` is short for it.", optional(checkArchiveURL)},
		{"archive.after", &a.After, "Archive an event this long after it was applied. Longer means that events are only on this machine for longer.", atLeast[Duration](0)},
		{"archive.schedule", &a.Schedule, "When to archive: a cron expression in UTC, or with a zone (`TZ=Europe/Berlin 0 * * * *`), or `@every 10m`.", textCheck(checkSchedule)},
		{"archive.object_bytes", &a.ObjectBytes, "Compressed size at which an archive object ends. Larger objects mean fewer of them.", between(64*KiB, GiB)},
		{"archive.omit", &a.Omit, "Fields to omit from archived events: `url_path`, `client_address`, `upstream_address`, `network_protocol_version`.", textCheck(checkOmit)},
		{"archive.endpoint", &a.Endpoint, "S3 endpoint, such as `http://127.0.0.1:7070`; empty = AWS.", optional(checkEndpoint)},
		{"archive.region", &a.Region, "S3 region; empty = us-east-1.", optional(checkRegion)},
		{"archive.path_style", &a.PathStyle, "Put the bucket into the path, as MinIO, Garage and versitygw require.", check{}},
		{"archive.access_key_file", &a.AccessKeyFile, "File with the access key; empty = the usual AWS chain.", check{}},
		{"archive.secret_key_file", &a.SecretKeyFile, "File with the secret key.", check{}},
		{"archive.ca_file", &a.CAFile, "File with PEM certificates to trust for the S3 endpoint, in addition to those of the system.", check{}},
		{"archive.timeout", &a.Timeout, "Longest time in a request to the archive in which less than 4 KiB moves. The whole request has no time limit.", atLeast(Millisecond)},
		{"retention.events", &r.Events, "Delete an event from local disk at this age, if its archived copy is verified. Less than `archive.after` means as soon as it is archived. Longer keeps more events for queries, and costs disk.", atLeast[Duration](0)},
		{"archive.expire", &a.Expire, "Delete raw events from a directory archive this long after they were archived; their statistics stay. Only time in which wayside runs counts. 0 = never. The default is 30d for the archive in the data directory, and 0 for one that `archive.url` names. wayside never deletes from a bucket: use its lifecycle rules.", atLeast[Duration](0)},
		{"report.schedule", &c.Report.Schedule, "When to write the capacity report, in the form of `archive.schedule`.", textCheck(checkSchedule)},
		{"report.warn_days", &c.Report.WarnDays, "Warn if a limit will be reached within this many days at the present growth.", between(0, 3650)},
		{"prune.schedule", &c.Prune.Schedule, "When to remove data that is no longer needed, in the form of `archive.schedule`.", textCheck(checkSchedule)},
		{"retention.schedule", &r.Schedule, "When to delete events, in the form of `archive.schedule`.", textCheck(checkSchedule)},
	}
}
