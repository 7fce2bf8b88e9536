package configs

import (
	"fmt"
	"slices"
	"strings"
)

// Key describes one configuration key.
type Key struct {
	Path    string // as in the file: archive.after
	Env     string // environment variable: WAYSIDE_ARCHIVE_AFTER
	Flag    string // flag of wayside run, empty if there is none
	Type    string // text, number, duration, size, list, secret, "true or false"
	Default string // in the form in which it is written; empty = nothing
	Doc     string // one sentence or two
	Effect  Effect // when a reload takes a new value over
}

// Keys returns all keys in the order in which they are documented.
func Keys() []Key {
	c := Default()
	t := table(&c)
	keys := make([]Key, 0, len(t))
	for _, k := range t {
		keys = append(keys, Key{
			Path: k.path, Env: envName(k.path), Flag: flagNames[k.path],
			Type: typeName(k.field), Default: text(k.field), Doc: k.doc, Effect: effectOf(k.path),
		})
	}
	return keys
}

// key ties a key to the field that holds it.
type key struct {
	path  string
	field any // pointer into a Config: *string, *Secret, *[]string, *bool, *int, *Duration or *Bytes
	doc   string
	check func() string // says what is wrong with the value and what to do; nil = any value is right
}

// problem says what is wrong with the key's value, by its type and by its own check; nothing if it is right.
func (k *key) problem() string {
	if msg := checkType(k.field); msg != "" || k.check == nil {
		return msg
	}
	return k.check()
}

// shorthand maps a section written as a plain value to the key it stands for: `data: /data` is `data: {dir: /data}`,
// and so in the environment and in flags.
var shorthand = map[string]string{"data": "data.dir", "archive": "archive.url", "admin": "admin.listen"}

// flagNames are the flags of wayside run that set a key.
var flagNames = map[string]string{
	"listen": "--listen", "upstream": "--upstream", "admin.listen": "--admin", "data.dir": "--data",
	"archive.url": "--archive", "collector.enabled": "--no-collector", "service": "--service", "instance": "--instance",
	"log.level": "--log-level", "log.format": "--log-format",
}

// envPrefix is what wayside's variables begin with.
const envPrefix = "WAYSIDE_"

// envName returns the environment variable of a key, or of a section's shorthand.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// table binds every key to its field in c.
func table(c *Config) []key {
	return slices.Concat(mainKeys(c), proxyKeys(c), fieldKeys(c), recordKeys(c), booksKeys(c), archiveKeys(c))
}

func mainKeys(c *Config) []key {
	return []key{
		{"listen", &c.Listen, "Address on which the proxy accepts traffic.", address(&c.Listen)},
		{
			"upstream", &c.Upstream, "The service behind the proxy: `http://host:port` or `unix:///path`. Required by `wayside run`.",
			optional(&c.Upstream, checkUpstream),
		},
		{"service", &c.Service, "Name of the service in archived events; otherwise `OTEL_SERVICE_NAME`, otherwise `wayside`.", optional(&c.Service, checkName)},
		{"instance", &c.Instance, "Name of this instance in archived events; otherwise the host name.", optional(&c.Instance, checkName)},
		{"data.dir", &c.Data.Dir, "Data directory. `data: DIR` is short for it.", filled(&c.Data.Dir, "name a directory, such as ./wayside-data")},
		{
			"data.bytes_max", &c.Data.BytesMax, "Most bytes that spool, store, quarantine and local archive may take together; beyond it applying pauses. 0 = no limit.",
			atLeast(&c.Data.BytesMax, 0),
		},
		{"data.free_min", &c.Data.FreeMin, "Free space to leave on the filesystem; below it applying pauses. Unless it is set, at most an eighth of the filesystem. 0 = no limit.", atLeast(&c.Data.FreeMin, 0)},
		{
			"admin.listen", &c.Admin.Listen, "Address of the admin listener. Beyond loopback it needs a token. `admin: ADDRESS` is short for it.",
			address(&c.Admin.Listen),
		},
		{
			"admin.hosts", &c.Admin.Hosts, "Names by which the admin listener may be addressed, besides addresses and localhost; others are refused, against DNS rebinding.",
			each(&c.Admin.Hosts, checkHostName),
		},
		{"admin.token", &c.Admin.Token, "Bearer token that the admin listener asks for; empty = none. Better kept in a file, see `admin.token_file`.", nil},
		{"admin.token_file", &c.Admin.TokenFile, "File that holds the token.", nil},
		{
			"admin.probes", &c.Admin.Probes, "Second address that serves only /livez, /readyz and /metrics, to everyone; details and metrics of single paths only with the token. Empty = none.",
			optional(&c.Admin.Probes, checkAddress),
		},
		{"admin.pprof", &c.Admin.PProf, "Serve profiles of the traffic process at /debug/pprof/ of the admin listener.", nil},
		{"log.level", &c.Log.Level, "`debug`, `info`, `warn` or `error`.", oneOf(&c.Log.Level, "debug", "info", "warn", "error")},
		{"log.format", &c.Log.Format, "`json`, `text`, or `auto`: text on a terminal, JSON elsewhere.", oneOf(&c.Log.Format, "auto", "json", "text")},
		{"log.access", &c.Log.Access, "Write one JSON line per response to standard output, with the archive's field names.", nil},
		{"shutdown.timeout", &c.Shutdown.Timeout, "Longest time from SIGTERM to exit, everything included.", atLeast(&c.Shutdown.Timeout, Millisecond)},
		{"shutdown.delay", &c.Shutdown.Delay, "Serve on for this long after SIGTERM, unready, until load balancers have noticed.", atLeast(&c.Shutdown.Delay, 0)},
	}
}

func proxyKeys(c *Config) []key {
	p := &c.Proxy
	return []key{
		{"proxy.header_timeout", &p.HeaderTimeout, "Longest time for a client to send a request's header.", atLeast(&p.HeaderTimeout, 100*Millisecond)},
		{"proxy.read_timeout", &p.ReadTimeout, "Longest pause of a client while it sends a request's body.", atLeast(&p.ReadTimeout, 100*Millisecond)},
		{"proxy.idle_timeout", &p.IdleTimeout, "How long a client's connection is kept between requests.", atLeast(&p.IdleTimeout, 100*Millisecond)},
		{"proxy.write_timeout", &p.WriteTimeout, "Longest pause of a client while it receives a response.", atLeast(&p.WriteTimeout, 100*Millisecond)},
		{"proxy.connect_timeout", &p.ConnectTimeout, "Longest time for a connection to the upstream.", atLeast(&p.ConnectTimeout, Millisecond)},
		{"proxy.response_timeout", &p.ResponseTimeout, "Longest wait for the upstream's response header; then 504. 0 = no limit.", offOrAtLeast(&p.ResponseTimeout, Millisecond)},
		{"proxy.body_timeout", &p.BodyTimeout, "Longest pause of the upstream within a response's body. 0 = no limit.", offOrAtLeast(&p.BodyTimeout, Millisecond)},
		{
			"proxy.total_timeout", &p.TotalTimeout, "Longest time for a whole exchange, from the first byte to the upstream to the last from it; event streams and upgraded connections have no such limit. 0 = no limit.",
			offOrAtLeast(&p.TotalTimeout, Millisecond),
		},
		{"proxy.tunnel_timeout", &p.TunnelTimeout, "Longest silence on an upgraded connection (WebSocket), counted over both directions. 0 = no limit.", offOrAtLeast(&p.TunnelTimeout, Millisecond)},
		{
			"proxy.upstream_idle", &p.UpstreamIdle, "How long an unused upstream connection is kept; stay below the upstream's own keep-alive time.",
			atLeast(&p.UpstreamIdle, Millisecond),
		},
		{"proxy.upstream_conns_max", &p.UpstreamConnsMax, "Most connections to the upstream; one client address may have at most 58 % of them, trusted proxies are exempt. 0 = from the memory and descriptors of the process, at most 4096.", atLeast(&p.UpstreamConnsMax, 0)},
		{"proxy.upstream_wait", &p.UpstreamWait, "Longest wait for a free upstream connection; then 503.", atLeast(&p.UpstreamWait, Millisecond)},
		{
			"proxy.upstream_resolve", &p.UpstreamResolve, "Look the upstream's name up again this often; connections to addresses it no longer has are not used again. 0 = only for new connections.",
			offOrAtLeast(&p.UpstreamResolve, Second),
		},
		{"proxy.header_bytes_max", &p.HeaderBytesMax, "Largest request header; beyond it 431.", between(&p.HeaderBytesMax, KiB, MiB)},
		{"proxy.body_bytes_max", &p.BodyBytesMax, "Largest request body; beyond it 413. 0 = no limit.", atLeast(&p.BodyBytesMax, 0)},
		{
			"proxy.body_rate_min", &p.BodyRateMin, "Bytes a second that a client has to send of a request's body on average, once `proxy.read_timeout` has passed; slower ones get 408. 0 = no limit.",
			atLeast(&p.BodyRateMin, 0),
		},
		{"proxy.conns_max", &p.ConnsMax, "Most client connections at once; beyond it they are refused and counted. One client address may have at most 58 % of them, trusted proxies are exempt. 0 = from the memory and descriptors of the process.", atLeast(&p.ConnsMax, 0)},
		{
			"proxy.held_bytes_max", &p.HeldBytesMax, "Most bytes of unfinished headers and buffered bodies of all clients together, without the first 4KiB of each; beyond it 503. 0 = a sixteenth of the memory of the process.",
			atLeast(&p.HeldBytesMax, 0),
		},
		{
			"proxy.address_conns_max", &p.AddressConnsMax, "Most connections from one client address (an IPv6 /64 counts as one); trusted proxies are exempt. 0 = no other limit than that of `proxy.conns_max`.",
			atLeast(&p.AddressConnsMax, 0),
		},
		{
			"proxy.trusted_proxies", &p.TrustedProxies, "Addresses or networks (10.0.0.0/8) whose X-Forwarded-* fields are kept.",
			each(&p.TrustedProxies, checkNetwork),
		},
		{
			"proxy.pass_fields", &p.PassFields, "Forwarding fields, such as `CF-Connecting-IP`, that are passed on from every client, not from `proxy.trusted_proxies` only; docs/HTTP.md lists which are removed.",
			each(&p.PassFields, checkPassedField),
		},
		{"proxy.via", &p.Via, "Add Via to requests. nginx as the upstream does not compress for a request that has it, unless `gzip_proxied` says so.", nil},
		{"proxy.server_timing", &p.ServerTiming, "Add a Server-Timing field to responses: `upstream;dur=`, milliseconds to the upstream's first byte.", nil},
	}
}

func fieldKeys(c *Config) []key {
	p := &c.Proxy
	return []key{
		{
			"proxy.request_fields.set", &p.RequestFields.Set, "Fields that requests get on their way to the upstream, as `Name: value`, in place of any they have.",
			each(&p.RequestFields.Set, checkField),
		},
		{"proxy.request_fields.add", &p.RequestFields.Add, "Fields that requests get besides those they have.", each(&p.RequestFields.Add, checkAddedField)},
		{"proxy.request_fields.remove", &p.RequestFields.Remove, "Names of fields to leave out of requests.", each(&p.RequestFields.Remove, checkRemovedField)},
		{
			"proxy.response_fields.set", &p.ResponseFields.Set, "Fields that responses, wayside's own included, get on their way to the client, in place of any they have.",
			each(&p.ResponseFields.Set, checkField),
		},
		{"proxy.response_fields.add", &p.ResponseFields.Add, "Fields that responses get besides those they have.", each(&p.ResponseFields.Add, checkAddedField)},
		{"proxy.response_fields.remove", &p.ResponseFields.Remove, "Names of fields to leave out of responses.", each(&p.ResponseFields.Remove, checkRemovedField)},
	}
}

func recordKeys(c *Config) []key {
	r := &c.Record
	return []key{
		{
			"record.exclude.paths", &r.Exclude.Paths, "Paths that are not recorded, only counted as excluded; a trailing `*` makes it a prefix. Behind a space, the product that the user agent must begin with as well: `/healthz kube-probe/`.",
			each(&r.Exclude.Paths, checkExcludedPath),
		},
		{"record.exclude.user_agents", &r.Exclude.UserAgents, "User agents that are not recorded, by prefix, such as `kube-probe/`. Whoever sends one hides what they do: to leave out probes, name their path as well (`record.exclude.paths`).", each(&r.Exclude.UserAgents, checkExcludedAgent)},
		{
			"record.client_address", &r.ClientAddress, "`masked` (IPv4 cut to /24, IPv6 to /48), `full` or `off`.",
			oneOf(&r.ClientAddress, "masked", "full", "off"),
		},
		{"record.request_id", &r.RequestID, "Keep the X-Request-ID of every response; those of wayside's own answers, such as a 502, are always kept.", nil},
		{"record.trace_id", &r.TraceID, "Keep the trace id of `traceparent` with each event (22 bytes each in the archive).", nil},
	}
}

func booksKeys(c *Config) []key {
	s, b, p := &c.Spool, &c.Collector, &c.Paths
	return []key{
		{
			"spool.sync", &s.Sync, "`interval`: power loss costs at most the commit window. `request`: each response waits until its event is on disk.",
			oneOf(&s.Sync, "interval", "request"),
		},
		{"spool.commit_interval", &s.CommitInterval, "Longest time from an event to its fsync.", between(&s.CommitInterval, Millisecond, 2*Second)},
		{"spool.segment_bytes", &s.SegmentBytes, "Size of one journal segment, a multiple of 4KiB; where an eighth of `spool.bytes_max` is less, that.", segmentSize(&s.SegmentBytes)},
		{"spool.segments", &s.Segments, "Number of journal segments: how much traffic one slow fsync may take.", between(&s.Segments, 2, 64)},
		{
			"spool.bytes_max", &s.BytesMax, "Most bytes the queue may take while the books process is away; beyond it events are dropped and counted.",
			atLeast(&s.BytesMax, MiB),
		},
		{
			"spool.age_max", &s.AgeMax, "Longest time events wait for the books process; then they are given up, oldest first, and counted as dropped (`age`). Time in which wayside does not run does not count. 0 = no limit.",
			offOrAtLeast(&s.AgeMax, Minute),
		},
		{"collector.enabled", &b.Enabled, "Start the books process. Off (`--no-collector`) where `wayside collect` runs by itself.", nil},
		{"collector.memory_bytes_max", &b.MemoryBytesMax, "Memory the books process aims to stay below.", atLeast(&b.MemoryBytesMax, 16*MiB)},
		{"collector.drain_events", &b.DrainEvents, "Drain the spool once this many events wait.", between(&b.DrainEvents, 1, 1_000_000)},
		{"collector.drain_interval", &b.DrainInterval, "Drain the spool at least this often.", between(&b.DrainInterval, Millisecond, 2*Second)},
		{"collector.nice", &b.Nice, "The nice value of the books process: how much it gives way to traffic when both want the processor; 0 not at all, 19 most. A process that was started with a higher nice value keeps it.", between(&b.Nice, 0, 19)},
		{"collector.snapshot.batches", &b.Snapshot.Batches, "Make a new snapshot after this many batches.", atLeast(&b.Snapshot.Batches, 1)},
		{"collector.snapshot.interval", &b.Snapshot.Interval, "Make a new snapshot at least this often while traffic flows.", between(&b.Snapshot.Interval, Millisecond, Hour)},
		{"collector.snapshot.window", &b.Snapshot.Window, "How far back the snapshot looks. Statistics are kept by the hour, so it begins with a whole one; it says when.", between(&b.Snapshot.Window, Hour, 366*24*Hour)},
		{"paths.max", &p.Max, "Most templates (by host) that are told apart; what comes later is counted under `(other)`.", between(&p.Max, 1, 100_000)},
		{"paths.hosts_max", &p.HostsMax, "Most hosts with rows of their own; the rest is counted under `(other)`.", between(&p.HostsMax, 1, 100_000)},
		{"metrics.paths_max", &c.Metrics.PathsMax, "Most paths with latency histograms of their own in /metrics; the rest is added up under `(other)`.", between(&c.Metrics.PathsMax, 1, 10_000)},
		{"paths.templates", &p.Templates, "Templates that go before the built-in rules, such as `/users/{id}` or `/static/**`.", each(&p.Templates, checkTemplate)},
		{"paths.raw", &p.Raw, "`off` stores events with their template only: no path as it was asked for gets into store or archive, and the spool is scrubbed of them. `log.access` still writes them.", oneOf(&p.Raw, "on", "off")},
	}
}

func archiveKeys(c *Config) []key {
	a, r := &c.Archive, &c.Retention
	return []key{
		{
			"archive.url", &a.URL, "Where raw events go: `file:///dir` or `s3://bucket/prefix`, which may hold `{service}` and `{instance}`; otherwise `<data.dir>/archive`. `archive: URL` is short for it.",
			optional(&a.URL, checkArchiveURL),
		},
		{"archive.after", &a.After, "Archive an event this long after it was applied.", atLeast(&a.After, 0)},
		{"archive.schedule", &a.Schedule, "When to archive: a cron expression, in UTC or behind a zone (`TZ=Europe/Berlin 0 * * * *`), or `@every 10m`.", schedule(&a.Schedule)},
		{"archive.object_bytes", &a.ObjectBytes, "Compressed size at which an archive object is cut.", between(&a.ObjectBytes, 64*KiB, GiB)},
		{
			"archive.omit", &a.Omit, "Fields to leave out of archived events: `url_path`, `client_address`, `upstream_address`, `network_protocol_version`.",
			each(&a.Omit, checkOmit),
		},
		{"archive.endpoint", &a.Endpoint, "S3 endpoint, such as `http://127.0.0.1:7070`; empty = AWS.", optional(&a.Endpoint, checkEndpoint)},
		{"archive.region", &a.Region, "S3 region; empty = us-east-1.", optional(&a.Region, checkRegion)},
		{"archive.path_style", &a.PathStyle, "Put the bucket into the path, as MinIO, Garage and versitygw want it.", nil},
		{"archive.access_key_file", &a.AccessKeyFile, "File with the access key; empty = the usual AWS chain.", nil},
		{"archive.secret_key_file", &a.SecretKeyFile, "File with the secret key.", nil},
		{"archive.ca_file", &a.CAFile, "File with PEM certificates to trust for the S3 endpoint besides the system's.", nil},
		{"archive.timeout", &a.Timeout, "Longest silence in a request to the archive, in which less than 4 KiB moves. A request may take as long as it takes.", atLeast(&a.Timeout, Millisecond)},
		{"retention.events", &r.Events, "Delete an event from local disk when it is this old and its archive has been verified; less than `archive.after` means as soon as it is archived.", atLeast(&r.Events, 0)},
		{
			"archive.expire", &a.Expire, "Delete raw events from an archive that is a directory this long after they were archived; their statistics stay. Only time in which wayside runs counts. 0 = never. The default is 30d for the archive in the data directory and 0 for one that `archive.url` names. wayside never deletes from a bucket: use its lifecycle rules.",
			atLeast(&a.Expire, 0),
		},
		{"report.schedule", &c.Report.Schedule, "When to write the capacity report: as `archive.schedule`.", schedule(&c.Report.Schedule)},
		{"report.warn_days", &c.Report.WarnDays, "Warn when a limit will be reached within so many days at the present growth.", between(&c.Report.WarnDays, 0, 3650)},
		{"prune.schedule", &c.Prune.Schedule, "When to remove what serves nobody any more: as `archive.schedule`.", schedule(&c.Prune.Schedule)},
		{"retention.schedule", &r.Schedule, "When to delete: as `archive.schedule`.", schedule(&r.Schedule)},
	}
}

// atLeast refuses smaller values.
func atLeast[T int | Duration | Bytes](field *T, least T) func() string {
	return func() string {
		if *field >= least {
			return ""
		}
		return fmt.Sprintf("%v is too small: the least is %v", *field, least)
	}
}

// offOrAtLeast is atLeast for a field in which 0 means no limit.
func offOrAtLeast[T int | Duration | Bytes](field *T, least T) func() string {
	check := atLeast(field, least)
	return func() string {
		if *field == 0 {
			return ""
		}
		return check()
	}
}

// between refuses values outside of both limits.
func between[T int | Duration | Bytes](field *T, least, most T) func() string {
	return func() string {
		if *field > most {
			return fmt.Sprintf("%v is too large: the most is %v", *field, most)
		}
		return atLeast(field, least)()
	}
}

// segmentSize refuses what cannot be mapped page by page.
func segmentSize(field *Bytes) func() string {
	return func() string {
		if *field%(4*KiB) != 0 {
			return fmt.Sprintf("%v is not a multiple of 4KiB: write 1MiB or another whole number of MiB", *field)
		}
		return between(field, 64*KiB, 32*MiB)()
	}
}

// oneOf refuses values that are not listed.
func oneOf(field *string, values ...string) func() string {
	return func() string {
		if slices.Contains(values, *field) {
			return ""
		}
		return fmt.Sprintf("%q is not one of %s", *field, strings.Join(values, ", "))
	}
}

// filled refuses an empty value.
func filled(field *string, hint string) func() string {
	return func() string {
		if strings.TrimSpace(*field) != "" {
			return ""
		}
		return "is empty: " + hint
	}
}

// optional checks a value unless it is empty.
func optional(field *string, check func(string) string) func() string {
	return func() string {
		if *field == "" {
			return ""
		}
		return check(*field)
	}
}

// each checks every element of a list.
func each(field *[]string, check func(string) string) func() string {
	return func() string {
		for _, v := range *field {
			if msg := check(v); msg != "" {
				return msg
			}
		}
		return ""
	}
}

func address(field *string) func() string { return func() string { return checkAddress(*field) } }

func schedule(field *string) func() string { return func() string { return checkSchedule(*field) } }
