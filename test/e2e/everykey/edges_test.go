package everykey

import (
	"path/filepath"
	"strings"
	"testing"
)

// edges lists the values of a key at its limits, in addition to those of its type (see ofType). They are written as in
// the file. $DIR is the folder of the case, $ORIGIN an upstream that answers, $FILE a file in $DIR that is not a
// directory, $CA a file with certificates, $KEY a file with a key for S3, $TOKEN a file with a token, $FIELDS a file with
// header fields, and $SERVERCERT and $SERVERKEY, or $SERVERCERT2 and $SERVERKEY2, files with a server's certificate and
// its key.
type edges struct {
	good []string // accepted values; the first one must not be the default, for the reload test
	bad  []string // values that lead to exit code 78
	with []string // "key: value" of other keys that all of these values need
	from string   // the value before a reload, for a key that cannot be omitted; empty for the default
}

var otlp = []string{"otlp.endpoint: http://127.0.0.1:1"}

var s3 = []string{"archive.url: s3://bucket/prefix?endpoint=http://127.0.0.1:1"}

var (
	withTLS  = []string{"tls.cert_file: $SERVERCERT", "tls.key_file: $SERVERKEY"}
	withACME = append([]string{"tls.acme.hosts: [a.example]", "tls.acme.directory: https://127.0.0.1:1/dir"}, withTLS...)
)

// ofKey must have an entry for each key: TestEveryKeyAtItsEdges fails for a key without one.
var ofKey = map[string]edges{
	"listen": {
		good: []string{"localhost:0", ":0", "'[::1]:0'"},
		bad:  []string{"8090", ":70000", "'::1:80'", "'a b:0'", "':+80'", "300.1.1.1:80", "-bad-:80"},
	},
	"upstream": {
		good: []string{"http://127.0.0.1:1", "'http://[::1]:1'", "http://not-there.invalid:1", "http://my_app:1", "unix:///nowhere/app.sock", "$ORIGIN/", "https://127.0.0.1:1", "h2c://127.0.0.1:1", "[$ORIGIN, http://127.0.0.1:1, unix:///nowhere/app.sock]"},
		bad: []string{
			"localhost:3000", "gopher://a", "[$ORIGIN, ftp://a]", "[[$ORIGIN]]", "{a: $ORIGIN}", "http://a/b", "http://a:0", "http://a:70000", "http://::1:80", "'http://a b'", "'http://a#'", "http://a?", "http://u:p@a",
			"unix://a/b", "unix:///", "http://-a", "http://1.2.3", "ftp://a", "http://", "http://a:", "unix:///" + strings.Repeat("a", 108),
		},
	},
	"service":  {good: []string{"shop", strings.Repeat("s", 128), "'a/b c'", "grüße", "'{service}'"}, bad: []string{".", "..", "' a'", "\"a\\tb\"", "\"a\\x7fb\"", strings.Repeat("s", 129)}},
	"instance": {good: []string{"i-1", strings.Repeat("i", 128)}, bad: []string{".", "..", "'a '", "\"\\x01\"", strings.Repeat("i", 129)}},
	"data.dir": {
		good: []string{"$DIR/other", "'$DIR/with blank # and %41 {service}?'"},
		bad:  []string{"$FILE", "$FILE/below", "/proc/wayside", "$DIR/" + strings.Repeat("d", 256), "\"a\\x01\"", "' '"},
	},
	"data.bytes_max": {good: []string{"64MiB", "10Gi", "0", "1024TiB"}, bad: []string{"1", "16MiB", "63MiB", "10G", "1025TiB", "67108863"}},
	"data.free_min":  {good: []string{"1MiB", "0", "1"}, bad: []string{"1024TiB", "900TB"}},
	"admin.listen":   {good: []string{"localhost:0", "'[::1]:0'"}, bad: []string{"127.0.0.1", ":0", "0.0.0.0:0", "'[::]:0'", "localhost:99999", "'[::1:0'"}},
	"admin.hosts": {
		good: []string{"[wayside.example.org]", "[a, b.c]"},
		bad:  []string{"['http://a']", "['a:1']", "[A]", "['']", "['a b']", "['-a']", "['*']"},
	},
	"admin.token":      {good: []string{"8-chars!", strings.Repeat("t", 1024)}, bad: []string{"a", "short", "7-chars", "'with a blank in it'", "grüße-und-küsse", strings.Repeat("t", 1025)}},
	"admin.token_file": {good: []string{"$TOKEN"}, bad: []string{"$DIR", "$DIR/none", "/dev/zero", "/dev/null", "$FILE"}},
	"admin.probes":     {good: []string{"127.0.0.1:0", ":0"}, bad: []string{"8092", ":-1", "a b:1"}},
	"admin.pprof":      {good: []string{"true"}},
	"log.level":        {good: []string{"debug", "error"}, bad: []string{"loud", "INFO", "''"}},
	"proxy.driver":     {good: []string{"loop", "goroutine"}, bad: []string{"thread", "''"}},
	"log.format":       {good: []string{"text", "json"}, bad: []string{"xml", "''"}},
	"log.access":       {good: []string{"true"}},
	"shutdown.timeout": {good: []string{"1ms", "3d", "876000h"}, bad: []string{"0", "0s"}},
	"shutdown.delay":   {good: []string{"24s"}, bad: []string{"25s", "1h"}},

	"redirect_http":      {with: withTLS, good: []string{"127.0.0.1:0", ":0"}, bad: []string{"80", "a b:1", ":70000"}},
	"proxy_protocol":     {good: []string{"[10.0.0.0/8]", "[10.1.2.3, 'fd00::/8']"}, bad: []string{"[10.0.0.1/8]", "[gateway]", "['']"}},
	"tls.cert_file":      {with: []string{"tls.key_file: $SERVERKEY"}, from: "$SERVERCERT", good: []string{"$SERVERCERT2", "$SERVERCERT"}, bad: []string{"$DIR", "$DIR/none", "$KEY", "$FILE", "/dev/zero"}},
	"tls.key_file":       {with: []string{"tls.cert_file: $SERVERCERT"}, from: "$SERVERKEY", good: []string{"$SERVERKEY2", "$SERVERKEY"}, bad: []string{"$DIR", "$DIR/none", "$KEY", "$CA", "/dev/zero"}},
	"tls.certificates":   {from: "[{cert_file: $SERVERCERT2, key_file: $SERVERKEY}]", good: []string{"[{cert_file: $SERVERCERT, key_file: $SERVERKEY}]"}, bad: []string{"[$SERVERCERT]", "[{cert_file: $SERVERCERT}]", "[{cert: a}]", "[{}]", "{cert_file: a}", "[~]"}},
	"tls.client_ca_file": {with: withTLS, good: []string{"$CA"}, bad: []string{"$DIR", "$DIR/none", "$FILE", "$KEY", "/dev/zero"}},
	"tls.acme.email":     {with: withACME, good: []string{"ops@example.org"}, bad: []string{"ops", "a b@c", "@c", "a@"}},
	"tls.acme.hosts":     {with: withACME, from: "[a.example]", good: []string{"[b.example, a.example]"}, bad: []string{"['*.example.org']", "[10.0.0.1]", "['a:443']", "[A.example]", "['']"}},
	"tls.acme.directory": {with: withACME, from: "https://127.0.0.1:1/dir", good: []string{"https://127.0.0.1:2/dir"}, bad: []string{"http://a/dir", "a", "https://", "https://u:p@a", "https://a:0"}},
	"tls.acme.ca_file":   {with: withACME, good: []string{"$CA"}, bad: []string{"$DIR", "$DIR/none", "$FILE", "$KEY"}},
	"tls.hsts":           {with: withTLS, good: []string{"365d", "0"}, bad: []string{"3651d"}},
	"upstreams": {
		with: []string{"upstream: ''", "routes: [{name: all, to: web}]"}, from: "{web: http://127.0.0.1:1}", good: []string{
			"{web: $ORIGIN}", "{web: {servers: [$ORIGIN]}}", "{web: {servers: [{url: $ORIGIN, weight: 1000}, 'http://127.0.0.1:1']}}", "{web: {dns: 'localhost:1'}}",
		},
		bad: []string{"[$ORIGIN]", "$ORIGIN", "{web: }", "{web: {}}", "{web: []}", "{web: {server: [$ORIGIN]}}", "{web: {servers: [ftp://a]}}", "{'a b': $ORIGIN}", "{api: $ORIGIN}", "{web: $ORIGIN, web: $ORIGIN}", "{web: 'http://a b'}"},
	},
	"routes": {
		with: []string{"upstream: ''", "upstreams: {web: $ORIGIN}"}, from: "[{name: all, to: web}]",
		good: []string{"[{name: every, to: web}]", "[{name: all, respond: {status: 200}}]"},
		bad:  []string{"{name: all, to: web}", "[all]", "[{to: web}]", "[{name: all}]", "[{name: all, to: wbe}]", "[{name: all, to: web}, {name: all, to: web}]", "[{name: all, to: web, redirect: /x}]", "[{name: all, to: {web: 0}}]", "[{label: all, to: web}]"},
	},
	"proxy.header_timeout":             {good: []string{"1s", "876000h"}, bad: []string{"0", "1ns", "99ms"}},
	"proxy.read_timeout":               {good: []string{"100ms"}, bad: []string{"0", "1ns"}},
	"proxy.idle_timeout":               {good: []string{"100ms"}, bad: []string{"0", "1ns"}},
	"proxy.write_timeout":              {good: []string{"100ms"}, bad: []string{"0", "1ns"}},
	"proxy.connect_timeout":            {good: []string{"1ms"}, bad: []string{"0", "1ns"}},
	"proxy.response_timeout":           {good: []string{"0", "1ms"}, bad: []string{"1ns"}},
	"proxy.body_timeout":               {good: []string{"0", "1ms"}, bad: []string{"1ns"}},
	"proxy.total_timeout":              {good: []string{"1ms", "0"}, bad: []string{"1ns"}},
	"proxy.tunnel_timeout":             {good: []string{"0", "1ms"}, bad: []string{"1ns"}},
	"proxy.tunnel_half_closed_timeout": {good: []string{"0", "1ms"}, bad: []string{"1ns"}},
	"proxy.upstream_idle":              {good: []string{"1ms"}, bad: []string{"0"}},
	"proxy.upstream_conns_max":         {good: []string{"1", "0", "1000000000"}},
	"proxy.upstream_wait":              {good: []string{"1ms"}, bad: []string{"0"}},
	"proxy.upstream_resolve":           {good: []string{"0", "1s"}, bad: []string{"1ms"}},
	"proxy.header_bytes_max":           {good: []string{"1KiB", "1MiB"}, bad: []string{"0", "1023", "2MiB"}},
	"proxy.response_header_bytes_max":  {good: []string{"1KiB", "1MiB"}, bad: []string{"0", "1023", "2MiB"}},
	"proxy.body_bytes_max":             {good: []string{"1", "0"}},
	"proxy.body_rate_min":              {good: []string{"1GiB", "0"}},
	"proxy.http2":                      {good: []string{"false", "true"}},
	"proxy.http2_streams_max":          {good: []string{"1", "10000"}, bad: []string{"0", "10001"}},
	"proxy.http2_window_bytes":         {good: []string{"64MiB", "64KiB"}, bad: []string{"0", "65535", "65MiB"}},
	"proxy.http2_resets_max":           {good: []string{"1", "1000000"}, bad: []string{"0", "-1"}},
	"proxy.http2_frames_max":           {good: []string{"1", "1000000"}, bad: []string{"0", "-1"}},
	"proxy.held_bytes_max":             {good: []string{"1", "0", "1024TiB"}},
	"proxy.conns_max":                  {good: []string{"1", "0"}},
	"proxy.address_conns_max":          {good: []string{"1", "0"}},
	"proxy.trusted_proxies": {
		good: []string{"[10.0.0.0/8]", "[127.0.0.1, '::1', 'fd00::/8']", "[0.0.0.0/0, '::/0']"},
		bad:  []string{"['::ffff:127.0.0.1']", "['::ffff:10.0.0.0/104']", "['::ffff:0:0/95']", "[10.0.0.1/8]", "['fd00::1/8']", "['fe80::1%eth0']", "[10.0.0.0/33]", "[gateway]", "['']"},
	},
	"proxy.pass_fields":            {good: []string{"[CF-Connecting-IP]"}, bad: []string{"['a b']", "['']"}},
	"proxy.via":                    {good: []string{"false", "true"}},
	"proxy.server_timing":          {good: []string{"true"}},
	"proxy.request_fields.set":     {good: []string{"['X-A: b']", "['Host: inner']", "['X-A: ${tls_client_name}']"}, bad: []string{"['Host: ${tls_client_name}']", "[X-A]", "['X A: b']", "['Content-Length: 3']", "[\"X-A: b\\r\\nX: c\"]", "[\"X-A: \\x00\"]"}},
	"proxy.request_fields.add":     {good: []string{"['X-A: b']"}, bad: []string{"['X-A: ${tls_client_name}']", "['Host: a']", "['']"}},
	"proxy.request_fields.remove":  {good: []string{"[X-A]"}, bad: []string{"[Host]", "['X-A: b']", "[transfer-encoding]"}},
	"proxy.response_fields.set":    {good: []string{"['X-A: b']"}, bad: []string{"['X-A: ${tls_client_name}']", "[X-A]", "['Connection: close']"}},
	"proxy.response_fields.add":    {good: []string{"['X-A: b']"}, bad: []string{"[': b']"}},
	"proxy.response_fields.remove": {good: []string{"[Server]"}, bad: []string{"['']"}},

	"record.exclude.paths": {
		good: []string{"[/healthz, /internal/*]"},
		bad:  []string{"[healthz]", "['/health?x']", "['/a#b']", "['/a b']", "['/*']", "['/a*b']", "['/grüße']", "['']"},
	},
	"record.exclude.user_agents": {good: []string{"[kube-probe/]"}, bad: []string{"['']", "[' ']", "['kube-probe/*']"}},
	"record.client_address":      {good: []string{"full", "off"}, bad: []string{"half", "''"}},
	"record.request_id":          {good: []string{"true"}},
	"record.trace_id":            {good: []string{"true"}},

	"spool.sync":            {good: []string{"request"}, bad: []string{"never", "''"}},
	"spool.commit_interval": {good: []string{"1ms", "2s"}, bad: []string{"0", "1ns", "1h"}},
	"spool.segment_bytes":   {good: []string{"64KiB", "32MiB"}, bad: []string{"0", "1", "60KiB", "100001", "33MiB"}},
	"spool.segments":        {good: []string{"2", "64"}, bad: []string{"0", "1", "65"}},
	"spool.bytes_max":       {good: []string{"1MiB", "1024TiB"}, bad: []string{"0", "1", "1023KiB"}},
	"spool.age_max":         {good: []string{"1m", "0", "7d"}, bad: []string{"1s", "59s"}},

	"collector.enabled":           {good: []string{"false"}},
	"collector.memory_bytes_max":  {good: []string{"16MiB", "1024TiB"}, bad: []string{"0", "1", "15MiB"}},
	"collector.drain_events":      {good: []string{"1", "1000000"}, bad: []string{"0", "1000001"}},
	"collector.drain_interval":    {good: []string{"1ms", "2s"}, bad: []string{"0", "1h", "1ns"}},
	"collector.nice":              {good: []string{"0", "19"}, bad: []string{"20"}},
	"collector.snapshot.batches":  {good: []string{"1", "1000000000"}, bad: []string{"0"}},
	"collector.snapshot.interval": {good: []string{"1ms", "1h"}, bad: []string{"0", "2h"}},
	"collector.snapshot.window":   {good: []string{"1h", "366d"}, bad: []string{"0", "59m", "367d"}},
	"paths.max":                   {good: []string{"1", "100000"}, bad: []string{"0", "100001"}},
	"paths.hosts_max":             {good: []string{"1", "100000"}, bad: []string{"0", "100001"}},
	"paths.templates":             {good: []string{"['/users/{id}', '/static/**']", "['/**']", "[/]"}, bad: []string{"[users]", "['/a**']", "['/a/{}']", "['/a?b']", "['/" + strings.Repeat("a", 256) + "']"}},
	"paths.raw":                   {good: []string{"'off'"}, bad: []string{"maybe", "''"}},
	"metrics.paths_max":           {good: []string{"1", "10000"}, bad: []string{"0", "10001"}},
	"otlp.endpoint": {
		good: []string{"http://127.0.0.1:1", "https://collector.invalid:4318/otlp/", "'http://[::1]:1'", "http://127.0.0.1:4317"},
		bad: []string{
			"127.0.0.1:4318", "grpc://a:4317", "http://", "http://a:0", "http://a:70000", "http://::1:4318", "http://u:p@a", "http://a?b", "'http://a#b'", "'http://a b'",
			"http://-a", "http://a/v1/metrics", "http://a/x/v1/traces/",
		},
	},
	"otlp.interval":     {with: otlp, good: []string{"1s", "1h", "0"}, bad: []string{"999ms", "61m"}},
	"otlp.spans":        {with: otlp, good: []string{"100%", "1", "0"}, bad: []string{"101%", "-1", "0.5", "half"}},
	"otlp.headers_file": {with: otlp, good: []string{"$FIELDS"}, bad: []string{"$DIR", "$DIR/none", "$TOKEN", "/dev/zero", "/dev/null"}},
	"otlp.ca_file":      {with: otlp, good: []string{"$CA"}, bad: []string{"$DIR", "$DIR/none", "$FILE", "$KEY", "/dev/zero"}},
	"archive.url": {
		good: []string{
			"s3://bucket/p?endpoint=http://127.0.0.1:1", "s3://bucket", "file://$DIR/elsewhere", "'file://$DIR/{service}/%23'", "'s3://bucket/{instance}?endpoint=http://[::1]:1'",
			"s3://" + strings.Repeat("b", 63), "s3://my_bucket", "s3://xn--abc", "''",
		},
		bad: []string{
			"gs://b", "s3://b", "s3://" + strings.Repeat("b", 64), "s3://a..b", "s3://BUCKET", "s3://192.168.1.1", "s3://-ab", "s3://a.-b",
			"'s3://bucket/a#b'", "'file:///a#b'", "s3://bucket:9000", "s3://u:p@bucket", "s3://bucket?regoin=x", "s3://bucket?region=us%20east", "s3://bucket?path_style=yes",
			"s3://bucket?endpoint=127.0.0.1", "s3://bucket?endpoint=http://-bad-.example:1", "s3://bucket/../p", "s3://bucket/%00", "s3:///p", "file://a/b", "file:relative",
			"file:///a?b", "file://$FILE", "file://$FILE/p", "file://$DIR/data/store", "'s3://bucket/{host}'", "'s3://{instance}.{service}-/p'", "/plain",
		},
	},
	"archive.after":           {good: []string{"0", "4d", "1s"}},
	"archive.schedule":        {good: []string{"'@every 1s'", "'@hourly'", "'TZ=Europe/Berlin 0 3 * * *'", "'@every 1d'", "'0 0 29 2 *'"}, bad: badSchedules},
	"archive.object_bytes":    {good: []string{"64KiB", "1GiB"}, bad: []string{"0", "1", "2GiB"}},
	"archive.omit":            {good: []string{"[client_address]"}, bad: []string{"[seq]", "['']"}},
	"archive.endpoint":        {with: []string{"archive.url: s3://bucket"}, good: []string{"http://127.0.0.1:1", "https://s3.example.com", "'http://[::1]:1'"}, bad: []string{"127.0.0.1:1", "http://-bad-.example:1", "http://a:0", "http://a:70000", "http://::1:1", "http://u:p@a", "http://a/b", "'http://a#'", "ftp://a", "'http://a b'"}},
	"archive.region":          {with: s3, good: []string{"eu-west-1", "auto"}, bad: []string{"us east", "-x", "'a/b'"}},
	"archive.path_style":      {with: s3, good: []string{"true"}},
	"archive.access_key_file": {with: append([]string{"archive.secret_key_file: $KEY"}, s3...), from: "$KEY", good: []string{"$TOKEN", "$KEY"}, bad: []string{"$DIR", "$DIR/none", "/dev/zero", "/dev/null"}},
	"archive.secret_key_file": {with: append([]string{"archive.access_key_file: $KEY"}, s3...), from: "$KEY", good: []string{"$TOKEN", "$KEY"}, bad: []string{"$DIR", "$DIR/none", "''"}},
	"archive.ca_file":         {with: s3, good: []string{"$CA"}, bad: []string{"$DIR", "$DIR/none", "$FILE", "$KEY", "/dev/zero"}},
	"archive.timeout":         {good: []string{"1s"}, bad: []string{"0", "1ns"}},
	"archive.expire":          {good: []string{"1h", "0"}},
	"retention.events":        {good: []string{"1h", "0", "1s"}},
	"retention.schedule":      {good: []string{"'@every 1s'"}, bad: badSchedules},
	"report.schedule":         {good: []string{"'@every 1s'"}, bad: badSchedules},
	"report.warn_days":        {good: []string{"0", "3650"}, bad: []string{"3651"}},
	"prune.schedule":          {good: []string{"'@every 1s'"}, bad: badSchedules},
}

var badSchedules = []string{
	"''", "hourly", "'0 0 31 2 *'", "'* * * *'", "'* * * * * *'", "'60 * * * *'", "'@every 1ns'", "'@every 999ms'", "'@every 0'", "'@every -1s'", "'@every never'",
	"'@every 367d'", "'TZ=Nowhere/Land 0 * * * *'", "'@never'", "'0 0 1 1 * 2020'",
}

// ofType lists values at the limits of each type. wayside may either accept or reject them.
var ofType = map[string][]string{
	"mapping":          {"[]", "''", "plain", "{}", "{a: }", "{a: [b]}", "{[a]: b}", "{'': b}"},
	"list of mappings": {"{}", "''", "plain", "[]", "[[]]", "[{}]", "[{a: b}]", "[{a: {a: {a: b}}}]"},
	"text":             {"''", "'" + strings.Repeat("x", 5000) + "'", "\"a\\x01b\"", "[a]", "{a: b}"},
	"secret":           {"''", "'" + strings.Repeat("x", 5000) + "'", "\"a\\x01b\"", "[a]"},
	"list":             {"[]", "''", "['" + strings.Repeat("x", 5000) + "']", "[" + strings.Repeat("/x,", 1500) + "/x]", "[[a]]", "[{a: b}]", "plain", "[\"\\x01\"]"},
	"true or false":    {"''", "maybe", "1", "[true]"},
	"number":           {"''", "-1", "0", "many", "1.5", "99999999999999999999", "9223372036854775807", "1e3", "0x10"},
	"percentage":       {"''", "-1%", "0", "half", "1.5%", "101%", "99999999999999999999%", "%"},
	"duration":         {"''", "-1s", "0", "soon", "5", "9223372036854775807ns", "876001h", "-2562047h", "1d1", "99999999999999999999h"},
	"size":             {"''", "-1", "0", "lots", "1.5GiB", "10G", "9223372036854775807", "99999999999TiB", "1 B B"},
}

// together lists configurations whose keys contradict each other. The error must contain the position of one of them.
var together = map[string][]string{
	"endpoint without a bucket":   {"archive.endpoint: http://127.0.0.1:1"},
	"region without a bucket":     {"archive.region: eu-west-1"},
	"path style without a bucket": {"archive.path_style: true"},
	"keys without a bucket":       {"archive.access_key_file: $KEY", "archive.secret_key_file: $KEY"},
	"certificates, no bucket":     {"archive.ca_file: $CA"},
	"one key of two":              {"archive.url: s3://bucket", "archive.access_key_file: $KEY"},
	"two regions":                 {"archive.url: s3://bucket?region=a-1", "archive.region: b-1"},
	"bucket of a bad service":     {"archive.url: 's3://{service}/p'", "service: My Shop"},
	"token twice":                 {"admin.token: twelve-chars", "admin.token_file: $TOKEN"},
	"delay beyond timeout":        {"shutdown.timeout: 5s", "shutdown.delay: 6s"},
	"journal beyond the limit":    {"data.bytes_max: 100MiB", "spool.segments: 64", "spool.segment_bytes: 32MiB", "spool.bytes_max: 1GiB"},
	"upstream is listen":          {"listen: 127.0.0.1:18091", "upstream: http://localhost:18091"},
	"upstream is everything":      {"listen: ':18091'", "upstream: http://127.0.0.1:18091"},
	"upstream is 0.0.0.0":         {"listen: 127.0.0.1:18091", "upstream: http://0.0.0.0:18091"},
	"upstream is admin":           {"admin.listen: 127.0.0.1:18091", "upstream: 'http://[::1]:18091'"},
	"upstream is mapped":          {"admin.listen: 127.0.0.1:18091", "upstream: 'http://[::ffff:127.0.0.1]:18091'"},
	"upstream is the probes":      {"admin.probes: ':18091'", "upstream: http://localhost.:18091"},
	"upstream is this host":       {"listen: ':18091'", "upstream: http://$HOSTNAME:18091"},
	"two listeners":               {"listen: 127.0.0.1:18091", "admin.listen: localhost:18091"},
	"probes on everything":        {"admin.listen: 127.0.0.1:18091", "admin.probes: ':18091'"},
	"archive in the store":        {"archive.url: file://$DIR/data/store/archive"},
}

// place replaces the variables in a value with the paths of the case.
func place(t *testing.T, dir, origin, value string) string {
	t.Helper()
	return strings.NewReplacer(
		"$DIR", dir, "$ORIGIN", origin, "$FILE", filepath.Join(dir, "edge.yaml"), "$CA", filepath.Join(dir, "ca.pem"),
		"$SERVERCERT2", filepath.Join(dir, "server2.crt"), "$SERVERKEY2", filepath.Join(dir, "server2.key"),
		"$SERVERCERT", filepath.Join(dir, "server.crt"), "$SERVERKEY", filepath.Join(dir, "server.key"),
		"$KEY", filepath.Join(dir, "key"), "$TOKEN", filepath.Join(dir, "token"), "$HOSTNAME", hostname(t),
		"$USERS", filepath.Join(dir, "users"), "$FIELDS", filepath.Join(dir, "fields"),
	).Replace(value)
}
