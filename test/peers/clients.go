package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

//go:embed client.js
var nodeClient string

//go:embed client.py
var pythonClient string

// priorKnowledge is curl's option for HTTP/2 in cleartext.
const priorKnowledge = "--http2-prior-knowledge"

// target is a wayside for clients.
type target struct {
	*e2e.Wayside
	encrypted bool
	url       string
}

func (t target) over() string {
	if t.encrypted {
		return "h2 (TLS)"
	}
	return "h2c"
}

// client is a program that uses wayside.
type client struct {
	name, program, pkg string
	version            []string
	role               string
	onlyTLS            bool // the program speaks HTTP/2 only over TLS
	check              func(ctx context.Context, l *lab, path string, t target) ([]check, error)
}

var clientPrograms = []client{
	{"curl", "curl", "curl", []string{"-V"}, "client", false, checkCurl},
	{"nghttp", "nghttp", "nghttp2-client", []string{"--version"}, "client", false, checkNghttp},
	{"h2load", "h2load", "nghttp2-client", []string{"--version"}, "client", false, checkH2load},
	{"node http2", "node", "nodejs", []string{"--version"}, "client", false, func(ctx context.Context, l *lab, path string, t target) ([]check, error) {
		return l.script(ctx, path, "client-*.js", nodeClient, t)
	}},
	{"python3-h2", "/usr/bin/python3", "python3-h2", []string{"-c", "import h2; print(h2.__version__)"}, "client", false, checkPython},
	{"Chromium", "chromium", "chromium", []string{"--version"}, "client", true, checkBrowser},
	{"HAProxy", "haproxy", "haproxy", []string{"-v"}, "proxy in front", false, func(ctx context.Context, l *lab, path string, t target) ([]check, error) {
		server := t.Listen + " proto h2"
		if t.encrypted {
			server = t.Listen + " ssl alpn h2 verify required ca-file " + l.caFile
		}
		addr, err := l.haproxy(ctx, path, "", server)
		if err != nil {
			return nil, err
		}
		return l.curlChecks(ctx, "http://"+addr, "--http1.1"), nil
	}},
	{"nginx (grpc_pass)", "nginx", "nginx-light", []string{"-v"}, "proxy in front", false, func(ctx context.Context, l *lab, path string, t target) ([]check, error) {
		pass := "grpc_pass grpc://" + t.Listen + ";"
		if t.encrypted {
			pass = "grpc_pass grpcs://" + t.Listen + ";" +
				" grpc_ssl_trusted_certificate " + l.caFile + "; grpc_ssl_verify on; grpc_ssl_name localhost;"
		}
		addr, err := l.nginx(ctx, path, "http2", "location / { "+pass+" }")
		if err != nil {
			return nil, err
		}
		return l.curlChecks(ctx, "http://"+addr, priorKnowledge), nil
	}},
}

// clients checks all programs that use wayside, in cleartext and over TLS.
func (l *lab) clients(ctx context.Context) (rows []row, err error) {
	for _, encrypted := range []bool{false, true} {
		w, err := l.wayside(ctx, encrypted, "upstream: http://"+l.origin.http+"\n")
		if err != nil {
			return rows, err
		}
		t := target{w, encrypted, "http://" + w.Listen}
		if encrypted {
			t.url = "https://" + w.Listen
		}
		before := l.origin.served.Load()
		for _, c := range clientPrograms {
			if c.onlyTLS && !t.encrypted {
				continue
			}
			r := row{peer: c.name, role: c.role, over: t.over()}
			path, err := find(c.program, c.pkg)
			if err != nil {
				rows = append(rows, r.done(nil, err))
				continue
			}
			r.version = version(ctx, path, c.version...)
			checks, err := c.check(ctx, l, path, t)
			rows = append(rows, r.done(checks, err))
		}
		served := l.origin.served.Load() - before
		booked := check{fmt.Sprintf("%d requests, each once", served), l.books(ctx, w, served)}
		rows = append(rows, row{peer: "the books", role: "record", over: t.over()}.done([]check{booked}, nil))
	}
	return rows, nil
}

// books compares the books with the number of requests that the origin has served. A request that its client canceled may not have
// reached the origin.
func (l *lab) books(ctx context.Context, w *e2e.Wayside, served int64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a, err := w.AwaitSettled(ctx)
	if err != nil {
		return err
	}
	if more := int64(a.Responses) - served; more < 0 || more > 2 || a.DroppedTotal() > 0 {
		return fmt.Errorf("%d responses, %d dropped; the origin has served %d", a.Responses, a.DroppedTotal(), served)
	}
	return a.Check()
}

// curlChecks makes some requests with curl.
func (l *lab) curlChecks(ctx context.Context, url string, args ...string) []check {
	path, err := find("curl", "curl")
	if err != nil {
		return []check{{"curl", err}}
	}
	curl := func(more ...string) (string, error) {
		return output(ctx, path, append(append([]string{"-sS", "--max-time", "30"}, args...), more...)...)
	}
	get, err := curl(url + "/large")
	checks := []check{{"GET 1 MiB", differs(get, err, large)}}
	post, err := curl("--data-binary", "@"+l.large, "-H", "Expect:", url+"/echo")
	checks = append(checks, check{"POST 1 MiB", differs(post, err, large)})
	put, err := curl("-T", l.large, "-H", "Transfer-Encoding: chunked", "-H", "Expect:", url+"/echo")
	checks = append(checks, check{"PUT without a length", differs(put, err, large)})
	head, err := curl("-I", "-o", os.DevNull, "-w", "%{http_code}", url+"/large")
	checks = append(checks, check{"HEAD", differs(head, err, "200")})
	missing, err := curl("-o", os.DevNull, "-w", "%{http_code}", url+"/missing")
	checks = append(checks, check{"404", differs(missing, err, "404")})
	if slices.Contains(args, priorKnowledge) {
		return checks // curl 7.88 cannot use such a connection for a second request, not even with nginx
	}
	many, err := curl("-Z", "--parallel-max", "50", "--data", "x", url+"/echo?[1-100]")
	return append(checks, check{"100 POST, 50 at a time", differs(many, err, strings.Repeat("x", 100))})
}

func (l *lab) curlArgs(t target) []string {
	if t.encrypted {
		return []string{"--http2", "--cacert", l.caFile}
	}
	return []string{priorKnowledge}
}

func checkCurl(ctx context.Context, l *lab, path string, t target) ([]check, error) {
	checks := l.curlChecks(ctx, t.url, l.curlArgs(t)...)
	spoken, err := output(ctx, path, append(l.curlArgs(t), "-sS", "-o", os.DevNull, "-w", "%{http_version}", t.url+"/large")...)
	if err == nil && spoken != "2" {
		err = fmt.Errorf("curl spoke HTTP/%s", spoken)
	}
	return append(checks, check{"version", err}), nil
}

func checkNghttp(ctx context.Context, l *lab, path string, t target) ([]check, error) {
	nghttp := func(more ...string) (string, error) { return output(ctx, path, append([]string{"-y"}, more...)...) }
	get, err := nghttp(t.url + "/large")
	checks := []check{{"GET 1 MiB", differs(get, err, large)}}
	post, err := nghttp("-d", l.large, t.url+"/echo")
	checks = append(checks, check{"POST 1 MiB", differs(post, err, large)})
	trailers, err := nghttp("-v", "-d", l.large, "--trailer", "x-sum: 7", t.url+"/trailers")
	if err == nil && !strings.Contains(trailers, "x-sum: 7") {
		err = errors.New("no trailer in the output")
	}
	checks = append(checks, check{"trailers", err})
	many, err := nghttp("-s", "-n", "-m", "50", t.url+"/echo")
	if n := strings.Count(many, " 200 "); err == nil && n != 50 {
		err = fmt.Errorf("%d responses with 200, want 50", n)
	}
	return append(checks, check{"50 at a time", err}), nil
}

func differs(out string, err error, want string) error {
	if err == nil && out != want {
		err = fmt.Errorf("%d bytes, want %d", len(out), len(want))
	}
	return err
}

func checkH2load(ctx context.Context, l *lab, path string, t target) ([]check, error) {
	var checks []check
	loads := []struct {
		name string
		args []string
	}{
		{"2,000 GET, 4 × 32 at a time", []string{"-n", "2000", t.url + "/echo"}},
		{"200 POST of 1 MiB", []string{"-n", "200", "-d", l.large, t.url + "/echo"}},
	}
	for _, load := range loads {
		out, err := output(ctx, path, append([]string{"-c", "4", "-m", "32"}, load.args...)...)
		if want := " " + load.args[1] + " succeeded, 0 failed, 0 errored, 0 timeout"; err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("no %q in %.400q", want, out)
		}
		checks = append(checks, check{load.name, err})
	}
	return checks, nil
}

func checkPython(ctx context.Context, l *lab, path string, t target) ([]check, error) {
	if exec.CommandContext(ctx, path, "-c", "import h2").Run() != nil {
		return nil, fmt.Errorf("%w: h2 is not installed (Debian: apt-get install python3-h2)", errNotRun)
	}
	return l.script(ctx, path, "client-*.py", pythonClient, t)
}

// script runs a script that prints "ok NAME" or "failed NAME: why" for each of its checks, and "done" at its end.
func (l *lab) script(ctx context.Context, interpreter, pattern, text string, t target) (checks []check, err error) {
	file, err := l.file(pattern, text)
	if err != nil {
		return nil, err
	}
	out, err := output(ctx, interpreter, file, t.url, l.caFile)
	for line := range strings.Lines(out) {
		kind, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch kind {
		case "ok":
			checks = append(checks, check{name, nil})
		case "failed":
			name, why, _ := strings.Cut(name, ": ")
			checks = append(checks, check{name, errors.New(why)})
		}
	}
	if err == nil && !strings.HasSuffix(out, "done\n") {
		err = errors.New("the script ended early")
	}
	return checks, err
}
