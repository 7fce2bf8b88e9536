package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFile writes a configuration to a temporary file.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "wayside.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "upstream: http://127.0.0.1:1\narchive:\n  after: 1m\n  schedule: '@every 1m'\npaths: {max: 7}\nspool: {segments: 9}\n")
	c, err := Load(LoadOptions{
		File:    file,
		Environ: []string{"WAYSIDE_ARCHIVE_AFTER=2m", "WAYSIDE_UPSTREAM=http://127.0.0.1:2", "WAYSIDE_PATHS_MAX=", "OTEL_SERVICE_NAME=shop"},
		Flags:   map[string]string{"upstream": "http://127.0.0.1:3", "data": "/tmp/books"},
	})
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	for what, got := range map[string][2]string{
		"flag beats environment":           {strings.Join(c.Upstream, " "), "http://127.0.0.1:3"},
		"environment beats file":           {c.Archive.After.String(), "2m"},
		"file beats default":               {c.Archive.Schedule, "@every 1m"},
		"default":                          {c.Listen, "127.0.0.1:8090"},
		"service from OTEL":                {c.Service, "shop"},
		"instance from host":               {c.Instance, host},
		"archive below data":               {c.Archive.URL, "file:///tmp/books/archive"},
		"shorthand flag":                   {c.Data.Dir, "/tmp/books"},
		"empty variable counts as not set": {text(&c.Paths.Max), "7"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: got %q, want %q", what, got[0], got[1])
		}
	}
	if c.Spool.Segments != 9 {
		t.Errorf("spool.segments = %d", c.Spool.Segments)
	}
}

// TestDefaultsOfAnImage: a mounted file takes precedence over an image's defaults, and a container's variable takes precedence over the file.
func TestDefaultsOfAnImage(t *testing.T) {
	image := []string{"WAYSIDE_DEFAULT_LISTEN=:8090", "WAYSIDE_DEFAULT_DATA=/data", "WAYSIDE_DEFAULT_ADMIN_PROBES=:8092"}
	file := writeFile(t, "listen: :9000\ndata: /books\n")
	for name, c := range map[string]struct {
		o                    LoadOptions
		listen, data, probes string
	}{
		"alone":         {LoadOptions{Environ: image}, ":8090", "/data", ":8092"},
		"with a file":   {LoadOptions{Environ: image, File: file}, ":9000", "/books", ":8092"},
		"with variable": {LoadOptions{Environ: append([]string{"WAYSIDE_LISTEN=:9001"}, image...), File: file}, ":9001", "/books", ":8092"},
		"with a flag":   {LoadOptions{Environ: image, Flags: map[string]string{"data": "/flag"}}, ":8090", "/flag", ":8092"},
	} {
		got, err := Load(c.o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Listen != c.listen || got.Data.Dir != c.data || got.Admin.Probes != c.probes {
			t.Errorf("%s: listen %s, data %s, probes %s; want %s, %s, %s", name, got.Listen, got.Data.Dir, got.Admin.Probes, c.listen, c.data, c.probes)
		}
	}
	for line, want := range map[string]string{
		"WAYSIDE_DEFAULT_LISTEN=x": "default WAYSIDE_DEFAULT_LISTEN: listen: ", "WAYSIDE_DEFAULT_LISTN=:1": "did you mean WAYSIDE_LISTEN?",
	} {
		if _, err := Load(LoadOptions{Environ: []string{line}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestShorthands(t *testing.T) {
	for name, o := range map[string]LoadOptions{
		"file":                          {File: writeFile(t, "data: /d\narchive: file:///a\nadmin: 127.0.0.1:1234\n")},
		"long file":                     {File: writeFile(t, "data: {dir: /d}\narchive: {url: 'file:///a'}\nadmin: {listen: '127.0.0.1:1234'}\n")},
		"environment":                   {Environ: []string{"WAYSIDE_DATA=/d", "WAYSIDE_ARCHIVE=file:///a", "WAYSIDE_ADMIN=127.0.0.1:1234"}},
		"long environment":              {Environ: []string{"WAYSIDE_DATA_DIR=/d", "WAYSIDE_ARCHIVE_URL=file:///a", "WAYSIDE_ADMIN_LISTEN=127.0.0.1:1234"}},
		"flags":                         {Flags: map[string]string{"data": "/d", "archive": "file:///a", "admin": "127.0.0.1:1234"}},
		"file named by the environment": {Environ: []string{"WAYSIDE_CONFIG=" + writeFile(t, "data: /d\narchive: file:///a\nadmin: 127.0.0.1:1234\n")}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Load(o)
			if err != nil {
				t.Fatal(err)
			}
			if c.Data.Dir != "/d" || c.Archive.URL != "file:///a" || c.Admin.Listen != "127.0.0.1:1234" || c.Data.BytesMax != 10*GiB {
				t.Errorf("data %+v, archive %s, admin %s", c.Data, c.Archive.URL, c.Admin.Listen)
			}
		})
	}
}

func TestLists(t *testing.T) {
	file, err := Load(LoadOptions{File: writeFile(t, "record:\n  exclude:\n    paths: [/a, /b/*, /c probe/1.]\n    user_agents:\n      - kube-probe/\n")})
	if err != nil {
		t.Fatal(err)
	}
	env, err := Load(LoadOptions{Environ: []string{"WAYSIDE_RECORD_EXCLUDE_PATHS=/a, /b/*, /c probe/1.", "WAYSIDE_RECORD_EXCLUDE_USER_AGENTS=kube-probe/"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Config{file, env} {
		e := c.Record.Exclude
		if strings.Join(e.Paths, "|") != "/a|/b/*|/c probe/1." || strings.Join(e.UserAgents, "|") != "kube-probe/" {
			t.Errorf("got %+v", e)
		}
	}
}

// TestErrorsNamePlaceAndRemedy checks that every error has the right position and that its message says what to do.
func TestErrorsNamePlaceAndRemedy(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"unknown key":       {"listen: :8090\narchive:\n  aftr: 1h\n", "f:3:3: archive.aftr: no such key: did you mean archive.after?"},
		"unknown section":   {"archve:\n  after: 1h\n", "f:1:1: archve: no such key: did you mean archive"},
		"unknown, far off":  {"quux: 1\n", "f:1:1: quux: no such key: `wayside config example full` lists them all"},
		"credential":        {"archive: {access_key: AKIA}\n", "did you mean archive.access_key_file?"},
		"twice":             {"listen: :1\nlisten: :2\n", "f:2:1: listen: is given twice, first on line 1"},
		"twice, dotted":     {"proxy.via: true\nproxy: {via: false}\n", "f:2:9: proxy.via: is given twice, first on line 1"},
		"twice, nested":     {"record: {exclude: {paths: [/a]}}\nrecord.exclude: {paths: [/b]}\n", "f:2:18: record.exclude.paths: is given twice, first on line 1"},
		"twice, shorthand":  {"admin: 127.0.0.1:1\nadmin.listen: 127.0.0.1:2\n", "f:2:1: admin.listen: is given twice, first on line 1"},
		"agent, two blanks": {"record: {exclude: {paths: [\"/a  probe/\"]}}\n", "record.exclude.paths: \"/a  probe/\" can never match"},
		"duration":          {"archive:\n  after: soon\n", `f:2:10: archive.after: "soon" is not a duration: write a number with a unit`},
		"duration, no unit": {"archive: {after: 60}\n", "f:1:18: archive.after: \"60\" is not a duration"},
		"size":              {"spool: {bytes_max: lots}\n", "f:1:20: spool.bytes_max: \"lots\" is not a size"},
		"too large":         {"spool: {bytes_max: 9999999999TiB}\n", "is too large"},
		"number":            {"paths: {max: many}\n", "f:1:14: paths.max: \"many\" is not a whole number"},
		"omitted field":     {"archive: {omit: [client_address, seq]}\n", "archive.omit: \"seq\" cannot be left out"},
		"boolean":           {"record: {trace_id: yes}\n", "f:1:20: record.trace_id: \"yes\" is neither true nor false"},
		"list":              {"proxy: {trusted_proxies: 10.0.0.1}\n", "f:1:26: proxy.trusted_proxies: must be a list"},
		"list of lists":     {"proxy: {trusted_proxies: [[10.0.0.1]]}\n", "must be a list of plain values"},
		"value is a map":    {"listen: {port: 1}\n", "f:1:9: listen: must be a single value (text)"},
		"section is value":  {"log: debug\n", "f:1:6: log: is a section: write its keys below it, indented, such as access"},
		"syntax":            {"listen: :8090\n  upstream: [\n", "f:2:"},
		"tab":               {"archive:\n\tafter: 1h\n", "f:2:"},
		"not a mapping":     {"- listen\n", "f:1:1: the file must contain keys"},
		"second document":   {"listen: :1\n---\nlisten: :2\n", "a second document begins here"},
		"merge key":         {"<<: {listen: ':1'}\n", "f:1:1: <<: no such key"},

		"zero paths":           {"paths: {max: 0}\n", "f:1:14: paths.max: 0 is too small: the minimum is 1"},
		"negative":             {"archive: {after: -1s}\n", "f:1:18: archive.after: -1s is too small"},
		"level":                {"log: {level: loud}\n", `"loud" is not one of debug, info, warn, error`},
		"listen":               {"listen: 8090\n", "f:1:9: listen: \"8090\" is not an address: write host:port"},
		"port":                 {"listen: :70000\n", "is not a usable port: write a number from 0 to 65535"},
		"upstream is self":     {"listen: :8090\nupstream: http://localhost:8090\n", "f:2:11: upstream: http://localhost:8090 is an address on which wayside itself listens"},
		"upstream self 80":     {"listen: 0.0.0.0:80\nupstream: http://127.0.0.1\n", "requests would never reach your service"},
		"upstream scheme":      {"upstream: localhost:3000\n", "write http://host:port, https://host:port, h2c://host:port or unix:///path"},
		"upstream h2c, path":   {"upstream: h2c://a/b\n", "write h2c://a"},
		"dns of an address":    {"upstreams: {web: {dns: 'h2c://10.0.0.1:1'}}\nroutes: [{name: a, to: web}]\n", "write it as a server, servers: [h2c://10.0.0.1:1]"},
		"upstream path":        {"upstream: http://a/b\n", "write http://a"},
		"upstream socket":      {"upstream: unix://run/a.sock\n", "with three slashes"},
		"admin is listen":      {"listen: 127.0.0.1:9\nadmin: localhost:9\n", "f:2:8: admin.listen: localhost:9 is already used by listen"},
		"probes is admin":      {"admin: {listen: '127.0.0.1:9', probes: ':9'}\n", "admin.probes: :9 is already used by admin.listen"},
		"open admin":           {"admin: :8091\n", "set admin.token_file (WAYSIDE_ADMIN_TOKEN_FILE), or listen on 127.0.0.1"},
		"archive scheme":       {"archive: gs://b\n", "f:1:10: archive.url: \"gs://b\" is not an archive: write file:///dir or s3://bucket/prefix"},
		"archive path":         {"archive: file://a/b\n", "with three slashes and the full path"},
		"archive option":       {"archive: s3://b?regoin=x\n", "regoin is not an option of an archive"},
		"archive secret":       {"archive: s3://a:b@c\n", "contains credentials"},
		"archive inside":       {"data: /d\narchive: file:///d/store/x\n", "is a directory that wayside uses itself: use /d/archive"},
		"archive region":       {"archive: {url: 's3://b?region=x', region: y}\n", "archive.region: y contradicts region=x in archive.url"},
		"endpoint":             {"archive: {endpoint: '127.0.0.1:7070'}\n", "write http://host:port"},
		"one credential":       {"archive: {access_key_file: /dev/null}\n", "/dev/null is not a regular file"},
		"schedule":             {"archive: {schedule: hourly}\n", `f:1:21: archive.schedule: "hourly" is not a schedule: write a cron expression`},
		"segment":              {"spool: {segment_bytes: 100001}\n", "is not a multiple of 4KiB"},
		"segments":             {"spool: {segments: 65}\n", "65 is too large: the maximum is 64"},
		"template":             {"paths: {templates: ['/a**']}\n", "f:1:21: paths.templates: \"/a**\": ** must be a whole segment"},
		"template name":        {"paths: {templates: ['/a/{}']}\n", "{} must be a whole segment with a name"},
		"never":                {"archive: {schedule: '0 0 31 2 *'}\n", "never occurs"},
		"every":                {"retention: {schedule: '@every never'}\n", "is not a schedule"},
		"network":              {"proxy: {trusted_proxies: [gateway]}\n", "is neither an address"},
		"excluded path":        {"record: {exclude: {paths: ['/a*b']}}\n", "a * is allowed only at the end"},
		"delay":                {"shutdown: {timeout: 5s, delay: 10s}\n", "f:1:32: shutdown.delay: shutdown.delay (10s) leaves no time within shutdown.timeout (5s)"},
		"ca missing":           {"archive: {url: 's3://bucket', ca_file: /nowhere}\n", "f:1:40: archive.ca_file: cannot read the file: stat /nowhere: no such file"},
		"ca is a directory":    {"archive: {url: 's3://bucket', ca_file: /etc}\n", "archive.ca_file: cannot read the file: /etc is a directory"},
		"ca is a device":       {"archive: {url: 's3://bucket', ca_file: /dev/zero}\n", "/dev/zero is not a regular file"},
		"ca is no PEM":         {"archive: {url: 's3://bucket', ca_file: load_test.go}\n", "has no PEM certificate"},
		"bucket, one letter":   {"archive: s3://b\n", "f:1:10: archive.url: \"b\" is not the name of a bucket: write 3 to 63"},
		"bucket, 64 letters":   {"archive: s3://" + strings.Repeat("b", 64) + "\n", "is not the name of a bucket"},
		"bucket, capitals":     {"archive: s3://BUCKET\n", "is not the name of a bucket"},
		"bucket, dots":         {"archive: s3://a..b\n", "a dot must not be next to another dot"},
		"bucket, address":      {"archive: s3://192.168.5.4/p\n", "it looks like an IP address"},
		"bucket, underscore":   {"archive: s3://_bucket\n", "is not the name of a bucket"},
		"bucket, hyphen first": {"archive: s3://-bucket\n", "is not the name of a bucket"},
		"bucket with port":     {"archive: s3://bucket:9000/p\n", "name the server with ?endpoint="},
		"bucket of a service":  {"service: My Shop\narchive: 's3://{service}/p'\n", "f:2:10: archive.url: "},
		"archive with #":       {"archive: 'file:///a#b'\n", "write it as %23"},
		"bucket with #":        {"archive: 's3://bucket/a#b'\n", "write it as %23"},
		"archive is a file":    {"archive: file:///etc/passwd\n", "/etc/passwd is a file"},
		"archive in a file":    {"archive: file:///etc/passwd/archive\n", "leads through one"},
		"prefix with ..":       {"archive: s3://bucket/a/../b\n", "has an empty part, . or .."},
		"endpoint, hyphen":     {"archive: {url: 's3://bucket', endpoint: 'http://-bad-.example:1'}\n", "f:1:41: archive.endpoint: \"-bad-.example\" is not a host name"},
		"endpoint, port 0":     {"archive: 's3://bucket?endpoint=http://h:0'\n", "endpoint: \"0\" is not a usable port"},
		"endpoint, port 70000": {"archive: {url: 's3://bucket', endpoint: 'http://h:70000'}\n", "is not a usable port"},
		"endpoint, userinfo":   {"archive: {url: 's3://bucket', endpoint: 'http://a:b@h'}\n", "contains credentials"},
		"endpoint, path":       {"archive: {url: 's3://bucket', endpoint: 'http://h/x'}\n", "is not an endpoint"},
		"endpoint, blank":      {"archive: {url: 's3://bucket', endpoint: 'http://h h'}\n", "has a space"},
		"endpoint, IPv6 bare":  {"archive: {url: 's3://bucket', endpoint: 'http://::1:9000'}\n", "in brackets"},
		"endpoint without url": {"archive: {endpoint: 'http://127.0.0.1:7070'}\n", "f:1:21: archive.endpoint: is for an archive in S3, and archive.url is file:///"},
		"region without url":   {"archive: {region: eu-west-1}\n", "archive.region: is for an archive in S3"},
		"style without url":    {"archive: {path_style: true}\n", "archive.path_style: is for an archive in S3"},
		"region with blank":    {"archive: {url: 's3://bucket', region: us east}\n", "f:1:39: archive.region: \"us east\" is not a region"},
		"region in the url":    {"archive: 's3://bucket?region=us%20east'\n", "region: \"us east\" is not a region"},
		"exclude with query":   {"record: {exclude: {paths: ['/health?x']}}\n", "f:1:28: record.exclude.paths: \"/health?x\" has a query or a fragment, which are ignored: write /health"},
		"exclude with blank":   {"record: {exclude: {paths: ['/a b']}}\n", "write it as clients send it, /a%20b"},
		"exclude all":          {"record: {exclude: {paths: ['/*']}}\n", "leaves nothing to record"},
		"exclude all agents":   {"record: {exclude: {user_agents: ['']}}\n", "leaves nothing to record"},
		"data of a byte":       {"data: {bytes_max: 1}\n", "f:1:19: data.bytes_max: 1 is too small"},
		"data of 16MiB":        {"data: {bytes_max: 16MiB}\n", "the minimum is 64MiB"},
		"data below journal":   {"data: {bytes_max: 100MiB}\nspool: {segments: 64, segment_bytes: 32MiB}\n", "data.bytes_max: 100MiB is too small"},
		"free beyond disk":     {"data: {free_min: 900TiB}\n", "f:1:18: data.free_min: 900TiB is at least the size of the whole filesystem"},
		"data in proc":         {"data: /proc/wayside\n", "f:1:7: data.dir: /proc/wayside is on a virtual filesystem of the kernel"},
		"archive in sys":       {"archive: file:///sys/kernel/archive\n", "f:1:10: archive.url: /sys/kernel/archive is on a virtual filesystem of the kernel"},
		"data is a file":       {"data: /etc/passwd\n", "f:1:7: data.dir: /etc/passwd is a file"},
		"service ..":           {"service: '..'\n", "f:1:10: service: \"..\" is not a name"},
		"service, control":     {"service: \"a\\x01\"\n", "has a control character"},
		"instance too long":    {"instance: " + strings.Repeat("i", 129) + "\n", "instance: has 129 characters: the maximum is 128"},
		"mapped proxy":         {"proxy: {trusted_proxies: ['::ffff:127.0.0.1']}\n", "f:1:27: proxy.trusted_proxies: ::ffff:127.0.0.1 is an IPv4 address in IPv6 notation: write 127.0.0.1"},
		"mapped network":       {"proxy: {trusted_proxies: ['::ffff:10.0.0.0/104']}\n", "write 10.0.0.0/8"},
		"host bits":            {"proxy: {trusted_proxies: [10.0.0.1/8]}\n", "10.0.0.1/8 has host bits set beyond its /8: write 10.0.0.0/8 for the network"},
		"host bits, IPv6":      {"proxy: {trusted_proxies: ['fd00::1/8']}\n", "write fd00::/8"},
		"upstream is admin":    {"admin: 127.0.0.1:9\nupstream: http://[::1]:9\n", "f:2:11: upstream: http://[::1]:9 is an address on which wayside itself listens (admin.listen: 127.0.0.1:9)"},
		"upstream is probes":   {"admin: {probes: ':9'}\nupstream: http://0.0.0.0:9\n", "(admin.probes: :9)"},
		"upstream by its name": {"listen: :9\nupstream: http://own-name.test:9\n", "(listen: :9)"},
		"short token":          {"admin: {token: a}\n", "f:1:16: admin.token: has 1 characters, but needs at least 8"},
		"token with blank":     {"admin: {token: a long token with blanks}\n", "which a header field cannot contain: make one with: openssl rand -hex 32"},
		"every nanosecond":     {"archive: {schedule: '@every 1ns'}\n", "write a time from 1s to"},
		"past year":            {"archive: {schedule: '0 0 1 1 * 2020'}\n", "has 6 fields: write five"},
		"seconds":              {"archive: {schedule: '* * * * * *'}\n", "has 6 fields: write five"},
		"size in two ways":     {"data: {bytes_max: 10G}\n", "can be read in two ways: write 10GiB (1024s) or 10GB (1000s)"},
		"century":              {"proxy: {idle_timeout: 900000h}\n", "is too large: the maximum is 36500d"},
		"long text":            {"archive: {omit: [" + strings.Repeat("o", 5000) + "]}\n", "has 5000 bytes: the maximum is 4096"},
		"listen blank":         {"listen: 'a b:80'\n", "is not a host name"},
		"listen address":       {"listen: 300.1.1.1:80\n", "is not an IP address"},
		"listen sign":          {"listen: ':+80'\n", "is not a usable port"},
		"upstream port":        {"upstream: http://a:0\n", "\"0\" is not a usable port"},
		"upstream IPv6 bare":   {"upstream: http://fe80::1:80\n", "in brackets"},
		"upstream user":        {"upstream: http://u:secret@a\n", "contains more than an address"},
		"upstream fragment":    {"upstream: 'http://a#'\n", "contains more than an address"},
	} {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, c.yaml)
			_, err := Load(LoadOptions{File: file, LookupHost: func(host string) ([]string, error) {
				return map[string][]string{"own-name.test": {"127.0.1.1"}}[host], nil
			}})
			if err == nil {
				t.Fatal("accepted")
			}
			var e *Error
			if !errors.As(err, &e) || e.Source != SourceFile || e.Line == 0 || e.Column == 0 {
				t.Errorf("no position in %#v", err)
			}
			if got := strings.ReplaceAll(err.Error(), file, "f"); !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestEveryErrorIsReported(t *testing.T) {
	file := writeFile(t, "paths: {max: 0}\nlisten: nowhere\nbogus: 1\n")
	_, err := Load(LoadOptions{File: file, Environ: []string{"WAYSIDE_LOG_LEVEL=loud"}, Flags: map[string]string{"upstream": "ftp://x"}})
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(strings.ReplaceAll(err.Error(), file, "f"), "\n")
	want := []string{"f:1:14: paths.max", "f:2:9: listen", "f:3:1: bogus", "environment WAYSIDE_LOG_LEVEL: log.level", `flag --upstream: "ftp://x" is not`}
	if len(lines) != len(want) {
		t.Fatalf("got %d errors:\n%s", len(lines), err)
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w) {
			t.Errorf("error %d is %q, want %q first", i, lines[i], w)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	for line, want := range map[string]string{
		"WAYSIDE_ARCHIVE_AFTR=1h":  "environment WAYSIDE_ARCHIVE_AFTR: no such setting: did you mean WAYSIDE_ARCHIVE_AFTER?",
		"WAYSIDE_LISTN=:1":         "did you mean WAYSIDE_LISTEN?",
		"WAYSIDE_PORT=8090":        "environment WAYSIDE_PORT: no such setting",
		"WAYSIDE_ADMIN_PORT=1":     "no such setting",
		"OTEL_SERVICE_NAME=..":     "environment OTEL_SERVICE_NAME: service: \"..\" is not a name",
		"WAYSIDE_ARCHIVE_AFTER=1x": "environment WAYSIDE_ARCHIVE_AFTER: archive.after: \"1x\" is not a duration",
		// The following are not errors: crash points, and the variables that Kubernetes sets for a Service named wayside.
		"WAYSIDE_FAULT_POINT=spool.commit.before":         "",
		"WAYSIDE_SERVICE_HOST=10.0.0.1":                   "",
		"WAYSIDE_SERVICE_PORT_HTTP=8090":                  "",
		"WAYSIDE_PORT=tcp://10.0.0.1:8090":                "",
		"WAYSIDE_PORT_8090_TCP_ADDR=10.0.0.1":             "",
		"WAYSIDE_PORT_8090_TCP_PORT=8090":                 "",
		"WAYSIDE_ADMIN_PORT_8091_TCP=tcp://10.0.0.1:8091": "",
		"WAYSIDE_ADMIN_SERVICE_PORT=8091":                 "",
		"WAYSIDEX=1":                                      "",
	} {
		_, err := Load(LoadOptions{Environ: []string{line}})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", line, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Load(LoadOptions{File: "/nowhere/wayside.yaml"})
	if err == nil || err.Error() != "/nowhere/wayside.yaml: cannot read the configuration file: no such file or directory" {
		t.Errorf("got %v", err)
	}
}

func TestEmptySectionsAndAliases(t *testing.T) {
	c, err := Load(LoadOptions{File: writeFile(t, "# nothing\nadmin:\n  # token: x\nlog:\nspool:\n  commit_interval: &t 50ms\ncollector:\n  drain_interval: *t\n")})
	if err != nil {
		t.Fatal(err)
	}
	if c.Collector.DrainInterval != 50*Millisecond || c.Log.Level != "info" {
		t.Errorf("got %v, %v", c.Collector.DrainInterval, c.Log.Level)
	}
	for _, empty := range []string{"", "# only a comment\n", "---\n", "~\n"} {
		if _, err := Load(LoadOptions{File: writeFile(t, empty)}); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
	if _, err := Load(LoadOptions{File: writeFile(t, "log: &l\n  level: debug\n  log: *l\n")}); err == nil {
		t.Error("a section within itself is accepted")
	}
}

func FuzzReadYAML(f *testing.F) {
	for _, kind := range Examples() {
		f.Add(Example(kind))
	}
	f.Add([]byte("a: &a {b: *a}\n"))
	f.Add([]byte("log: {level: !!binary aGk=}\n? [x]\n: y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Default()
		l := newLoader(&c)
		l.readYAML("f", data)
		for _, e := range l.errs {
			if e.Msg == "" || e.File != "f" {
				t.Errorf("error without message or file: %#v", e)
			}
		}
		_ = c.Validate()
	})
}

// TestErrorsOfElementsAndBytesHaveTheirPlace: every wrong element has an error with its position, and so do bytes that are not text.
func TestErrorsOfElementsAndBytesHaveTheirPlace(t *testing.T) {
	for text, want := range map[string][]string{
		"upstream: http://127.0.0.1:3000\npaths:\n  templates:\n    - /users/{id}\n    - users\n    - '/a{b}c'\n": {":5:7: paths.templates: \"users\"", ":6:7: paths.templates: \"/a{b}c\""},
		"# ok\nlisten: \"a\xffb\"\n": {":2:11: not valid YAML: byte 0xff"},
		"a: 1\n\x01b: 2\n":           {":2:1: not valid YAML: control character 0x01"},
	} {
		file := filepath.Join(t.TempDir(), "wayside.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(LoadOptions{File: file})
		if err == nil {
			t.Errorf("%q is accepted", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v; want %s", text, err, w)
			}
		}
	}
}

// TestManifestIsNoConfiguration: a Kubernetes manifest causes one error, which says what the file is.
func TestManifestIsNoConfiguration(t *testing.T) {
	_, err := Load(LoadOptions{File: "kubernetes.yaml"})
	if err == nil || !strings.Contains(err.Error(), "kubernetes.yaml:9:1: this is a Kubernetes manifest") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}
