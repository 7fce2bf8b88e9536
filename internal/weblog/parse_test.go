package weblog

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// parsed is what a line must give.
type parsed struct {
	time, method, host, path string
	status                   uint16
	out, in, micros          uint64
	timed                    bool
}

const (
	combinedLine = `203.0.113.7 - Frank Smith [10/Oct/2025:13:55:36 +0200] "GET /a/b?c=\x22d\x22 HTTP/1.1" 200 2326 "http://x/\x22" "Mozilla/5.0 [en]"`
	jsonLine     = `{"time_iso8601":"2025-10-10T13:55:36+02:00","request_method":"POST","request_uri":"/a?b=1","status":201,"body_bytes_sent":"17","request_time":0.250,"host":"Example.org","more":{"x":[1]}}`
	caddyText    = `{"level":"info","ts":1760097336.5,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":"203.0.113.7","proto":"HTTP/2.0","method":"GET","host":"example.org","uri":"/x?y","headers":{"A":["b"]}},"bytes_read":5,"duration":0.000929675,"size":10900,"status":200}`
)

func TestLines(t *testing.T) {
	const at = "2025-10-10T11:55:36Z"
	for _, c := range []struct {
		name   string
		format Format
		line   string
		want   parsed
	}{
		{"combined", Combined, combinedLine, parsed{time: at, method: "GET", host: "default", path: "/a/b", status: 200, out: 2326}},
		{"common", Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] "HEAD / HTTP/1.0" 304 -`, parsed{time: at, method: "HEAD", host: "default", path: "/", status: 304}},
		{"a time that is none before the time", Combined, `::1 - a [b] [10/Oct/2025:11:55:36 +0000] "GET / HTTP/1.0" 304 0`, parsed{time: at, method: "GET", host: "default", path: "/", status: 304}},
		{"no request", Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] "-" 400 0 "-" "-"`, parsed{time: at, host: "default", status: 400}},
		{"TLS handshake", Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] "\x16\x03\x01\x02" 400 157 "-" "-"`, parsed{time: at, host: "default", status: 400, out: 157}},
		{"absolute target", Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] "GET http://other.example?x HTTP/1.1" 200 1 "-" "-"`, parsed{time: at, method: "GET", host: "other.example", path: "/", status: 200, out: 1}},
		{"escaped by Apache", Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] "GET /\"x HTTP/1.1" 200 1 "a\"b" "-"`, parsed{time: at, method: "GET", host: "default", path: `/"x`, status: 200, out: 1}},
		{"upgrade", JSON, strings.Replace(jsonLine, "201", "101", 1), parsed{time: at, method: "POST", host: "Example.org", path: "/a", status: 101, out: 17, micros: 250_000}},
		{"JSON", JSON, jsonLine, parsed{time: at, method: "POST", host: "Example.org", path: "/a", status: 201, out: 17, micros: 250_000, timed: true}},
		{"JSON with texts", JSON, `{"msec":"1760097336.123","request":"GET /z HTTP/1.1","status":"499","request_time":"-"}`, parsed{time: "2025-10-10T11:55:36.123Z", method: "GET", host: "default", path: "/z", status: 499}},
		{"several servers", JSON, `{"time":"1760097336000","request":"GET /z HTTP/1.1","status":"200","request_time":"0.001, 0.002 : 0.003"}`, parsed{time: at, method: "GET", host: "default", path: "/z", status: 200, micros: 6000, timed: true}},
		{"field of another name", JSON, `{"t":"2025-10-10T13:55:36+0200","uri":"/z","status":200}`, parsed{time: at, host: "default", path: "/z", status: 200}},
		{"Caddy", Caddy, caddyText, parsed{time: "2025-10-10T11:55:36.5Z", method: "GET", host: "example.org", path: "/x", status: 200, out: 10900, in: 5, micros: 930, timed: true}},
		{"Caddy, texts", Caddy, `{"ts":"2025-10-10T11:55:36Z","request":{"method":"GET","uri":"/"},"status":200,"duration":"1.5ms"}`, parsed{time: at, method: "GET", host: "default", path: "/", status: 200, micros: 1500, timed: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Parser{Format: c.format, Host: "default"}
			if strings.Contains(c.line, `"t":`) {
				p.Fields = map[string]string{"time": "t"}
			}
			var e event.Event
			timed, err := p.Parse([]byte(c.line), &e)
			if err != nil {
				t.Fatal(err)
			}
			got := parsed{
				time.UnixMicro(e.TimeMicros).UTC().Format(time.RFC3339Nano), string(e.Method), string(e.Host), string(e.Path), e.Status,
				e.ResponseBytes, e.RequestBytes, e.DurationMicros, timed,
			}
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	for _, c := range []struct {
		format     Format
		line, want string
	}{
		{Combined, "hello", "no time in brackets"},
		{Combined, `::1 - - [10/Oct/2025:11:55:36 +0000`, "closing bracket"},
		{Combined, `::1 - - [10/Foo/2025:11:55:36 +0000] "GET / HTTP/1.1" 200 1`, "cannot read the time"},
		{Combined, `::1 - - [10/Oct/1025:11:55:36 +0000] "GET / HTTP/1.1" 200 1`, "between 1990"},
		{Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] GET / 200 1`, "quotation marks"},
		{Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] "GET / HTTP/1.1`, "quotation marks"},
		{Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] "GET / HTTP/1.1" 200`, "status and size"},
		{Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] "GET / HTTP/1.1" 2000 1`, "status code"},
		{Combined, `::1 - - [10/Oct/2025:11:55:36 +0000] "GET / HTTP/1.1" 200 -7`, "number of bytes"},
		{JSON, `{"status":200`, "not a JSON object"},
		{JSON, `{"status":200} x`, "not a JSON object"},
		{JSON, `{"status":200,"uri":"/"}`, "--field time="},
		{JSON, `{"time":"2025-10-10T11:55:36Z","uri":"/"}`, "--field status="},
		{JSON, `{"time":"2025-10-10T11:55:36Z","status":200}`, "--field uri="},
		{JSON, `{"time":"2025-10-10T11:55:36Z","status":200,"uri":"/","request_time":"-1"}`, "number of seconds"},
		{JSON, `{"time":"2025-10-10T11:55:36Z","status":200,"uri":"/","request_time":"soon"}`, "number of seconds"},
		{Caddy, `{"ts":1,"request":{"uri":"/"},"status":70000}`, "not a line of a JSON log of Caddy"},
		{Caddy, `{"ts":"x","request":{"uri":"/"},"status":200}`, "cannot read the time"},
	} {
		p := Parser{Format: c.format}
		if _, err := p.Parse([]byte(c.line), new(event.Event)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.line, err, c.want)
		}
	}
	p := Parser{Format: Caddy}
	if _, err := p.Parse([]byte(`{"logger":"tls.obtain","msg":"acquiring lock"}`), new(event.Event)); !errors.Is(err, ErrNoResponse) {
		t.Errorf("another logger: %v", err)
	}
}

func TestDetect(t *testing.T) {
	for line, want := range map[string]Format{combinedLine: Combined, jsonLine: JSON, caddyText: Caddy, `{"logger":"http","msg":"x"}`: Caddy} {
		if got, err := Detect([]byte(line)); got != want || err != nil {
			t.Errorf("%s: %s, %v", line, got, err)
		}
	}
	for _, line := range []string{"hello", "{", ""} {
		if got, err := Detect([]byte(line)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %s, %v", line, got, err)
		}
	}
}

// FuzzParse: no line panics, and what is read is within its bounds.
func FuzzParse(f *testing.F) {
	for _, line := range []string{combinedLine, jsonLine, caddyText} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, format := range Formats {
			p := Parser{Format: format}
			var e event.Event
			if _, err := p.Parse(line, &e); err != nil {
				continue
			}
			if len(e.Path) > event.PathBytesMax || len(e.Method) > event.MethodBytesMax || len(e.Host) > event.HostBytesMax || e.Status > 999 ||
				e.ResponseBytes > sizeMax || e.RequestBytes > sizeMax || bytes.IndexByte(e.Path, '?') >= 0 {
				t.Errorf("%s: %q gives %+v", format, line, e)
			}
		}
	})
}
