package configs

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// checkOTLPEndpoint accepts a URL to which the paths of the signals can be appended.
func checkOTLPEndpoint(s string) string {
	const form = "http://host:port or https://host:port"
	u, msg := parseURL(s, form)
	switch {
	case u == nil:
		return msg
	case u.User != nil:
		return "contains credentials, which belong in otlp.headers_file, as Authorization: Basic …"
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return fmt.Sprintf("%q is not an OTLP endpoint: write %s, with a path if the receiver has one, and nothing else", s, form)
	}
	for _, signal := range []string{"/v1/metrics", "/v1/traces"} {
		if base, found := strings.CutSuffix(strings.TrimRight(s, "/"), signal); found {
			return fmt.Sprintf("ends with %s, which wayside appends itself: write %s", signal, base)
		}
	}
	return checkURLHost(u)
}

// readOTLPHeaders reads otlp.headers_file. Its errors never contain a value, because values are usually secrets.
func (l *loader) readOTLPHeaders(c *Config) {
	const path = "otlp.headers_file"
	if c.OTLP.HeadersFile == "" {
		return
	}
	data, ok := l.readKeyFile(path, c.OTLP.HeadersFile)
	if !ok {
		return
	}
	if msg := checkHeaderLines(string(data)); msg != "" {
		l.failf(l.origins[path], path, "%s %s", c.OTLP.HeadersFile, msg)
		return
	}
	c.OTLP.Headers = Secret(data)
}

func checkHeaderLines(text string) string {
	lines, n := 0, 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		lines++
		name, value, found := strings.Cut(line, ":")
		switch {
		case !found:
			return fmt.Sprintf("has no field in line %d: write Name: value", n)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f }):
			return fmt.Sprintf("has a control character or a character outside ASCII in line %d: leave it out", n)
		}
		if msg := checkFieldName(name); msg != "" {
			return fmt.Sprintf("has a wrong field in line %d: %s", n, msg)
		}
	}
	if lines == 0 {
		return "is empty: write a field such as Authorization: Bearer … into it"
	}
	return ""
}

// Header returns the fields from otlp.headers_file.
func (o *OTLP) Header() http.Header {
	h := http.Header{}
	for line := range strings.Lines(string(o.Headers)) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			h.Add(name, strings.TrimSpace(value))
		}
	}
	return h
}

// SpanPercent returns the percentage of sampled traces whose spans are exported; 0 if nothing is exported.
func (c *Config) SpanPercent() int {
	if c.OTLP.Endpoint == "" {
		return 0
	}
	return int(c.OTLP.Spans)
}

// otlpWarnings reports keys that have no effect, and a port on which collectors do not speak HTTP.
func (c *Config) otlpWarnings(warn func(key, format string, args ...any)) {
	const endpoint = "otlp.endpoint"
	if c.OTLP.Endpoint == "" {
		for _, key := range []string{"otlp.interval", "otlp.spans", "otlp.headers_file", "otlp.ca_file"} {
			if set(c, key) {
				warn(key, "has no effect without otlp.endpoint: set that too, or leave %s out", key)
			}
		}
		return
	}
	if c.OTLP.Interval == 0 && c.OTLP.Spans == 0 {
		warn(endpoint, "nothing is exported, because otlp.interval and otlp.spans are both 0: set one of them")
	}
	if u, err := url.Parse(c.OTLP.Endpoint); err == nil && u.Port() == "4317" {
		warn(endpoint, "port 4317 is usually for gRPC, but wayside sends OTLP over HTTP: collectors usually receive that on port 4318")
	}
}
