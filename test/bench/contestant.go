package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/test/loopback"
)

const (
	settleTimeout = 20 * time.Second // maximum time for draining and archiving after a load
	archiveAfter  = time.Second      // archive.after

	// settlePoll is the time between two checks whether the books have settled. A check costs wayside a millisecond, as much as thirty
	// requests.
	settlePoll = 500 * time.Millisecond
)

// contestant is one proxy in front of the origin.
type contestant struct {
	name    string
	process *process
	address string // host:port to load
	admin   string // wayside only: URL of the admin listener
}

var defaultContestants = []string{"wayside", "nginx", "nginx-json", "haproxy", "forwarder"}

// contestantNames lists all contestants in the order of the table.
func contestantNames() []string {
	return append(slices.Clone(defaultContestants), "nginx-json-buffered", "before")
}

// setup is everything that runs during the benchmark. It owns the processes and the files in the temporary directory.
type setup struct {
	options
	dir         string
	origin      *process
	originAddr  string
	files       certFiles // with -http2 and -tls
	contestants []*contestant
}

// start builds and starts the origin and the contestants. Even after an error, stop must be called.
func (f *setup) start(ctx context.Context) error {
	for _, tool := range f.tools() {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w; on Debian: apt-get install nginx-light haproxy wrk nghttp2-client", err)
		}
	}
	if f.http2 != "" || f.tls {
		if err := f.makeCertificate(); err != nil {
			return err
		}
	}
	var err error
	if f.originAddr, err = loopback.FreeAddress(); err != nil {
		return err
	}
	if f.origin, err = startNginx("origin", f.dir, fmt.Sprintf(nginxOrigin, f.originAddr, originBody)); err != nil {
		return err
	}
	if err := f.origin.awaitReady(ctx, func(ctx context.Context) error { return answers(ctx, f.originAddr, options{}) }); err != nil {
		return err
	}
	for _, name := range f.only {
		c := &contestant{name: name}
		if err := f.startContestant(ctx, c); err != nil {
			return err
		}
		f.contestants = append(f.contestants, c)
		if err := c.process.awaitReady(ctx, c.ready(f.dir, f.options)); err != nil {
			return err
		}
	}
	return nil
}

// tools returns the programs that this run needs.
func (f *setup) tools() []string {
	tools := []string{"go", "nginx"}
	if slices.Contains(f.only, "haproxy") {
		tools = append(tools, "haproxy")
	}
	if f.http2 != "" {
		return append(tools, "h2load")
	}
	if slices.ContainsFunc(f.loads, func(w workload) bool { return w.rate == 0 }) {
		tools = append(tools, "wrk")
	}
	return tools
}

func (f *setup) startContestant(ctx context.Context, c *contestant) (err error) {
	if c.address, err = loopback.FreeAddress(); err != nil {
		return err
	}
	log := filepath.Join(f.dir, c.name+".access.log")
	listen, directives := f.nginxListen(c.address)
	switch c.name {
	case "wayside":
		return f.startWayside(ctx, c, f.wayside)
	case "before":
		if f.before == "" {
			return errors.New("-only before: name the older binary with -before")
		}
		return f.startWayside(ctx, c, f.before)
	case "forwarder", "nethttp", "exchange":
		return f.startProgram(ctx, c)
	case "caddy":
		return f.startCaddy(c)
	case "haproxy":
		c.process, err = startHAProxy(c.name, f.dir, f.haproxyBind(c.address), f.originAddr)
	case "nginx":
		c.process, err = startNginx(c.name, f.dir, fmt.Sprintf(nginxProxy, directives+"  access_log off;\n", f.originAddr, listen))
	case "nginx-json":
		c.process, err = startNginx(c.name, f.dir, fmt.Sprintf(nginxProxy, fmt.Sprintf(nginxJSON, log, ""), f.originAddr, c.address))
	case "nginx-json-buffered":
		buffered := fmt.Sprintf(nginxJSON, log, " buffer=64k flush=1s")
		c.process, err = startNginx(c.name, f.dir, fmt.Sprintf(nginxProxy, buffered, f.originAddr, c.address))
	default:
		return fmt.Errorf("unknown contestant %q", c.name)
	}
	return err
}

// startWayside starts wayside with everything turned on. Under load, wayside archives events within seconds. So the cost of archiving
// falls into wayside's own turns rather than into those of another contestant. An idle wayside uses the defaults.
func (f *setup) startWayside(ctx context.Context, c *contestant, binary string) error {
	if binary == "" {
		var err error
		if binary, err = f.build(ctx, "wayside", "github.com/wayside-proxy/wayside/cmd/wayside"); err != nil {
			return err
		}
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	data := c.dataDir(f.dir)
	var env []string
	if !f.idling() {
		env = append(env, "WAYSIDE_ARCHIVE_AFTER="+archiveAfter.String(), "WAYSIDE_ARCHIVE_SCHEDULE=@every 1s")
	}
	if f.idleConns > 0 { // the default is lower if a process may have only a few descriptors
		env = append(env, fmt.Sprintf("WAYSIDE_PROXY_CONNS_MAX=%d", f.idleConns+256))
	}
	if f.profile != "" {
		env = append(env, "WAYSIDE_ADMIN_PPROF=true")
	}
	args := append([]string{
		"run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--upstream", "http://" + f.originAddr, "--data", data, "--archive", "file://" + filepath.Join(data, "archive"),
	}, f.tlsArgs()...)
	c.process, err = startProcess(c.name, f.dir, env, binary, args...)
	return err
}

// startProgram builds and starts a contestant that is a program of this repository.
func (f *setup) startProgram(ctx context.Context, c *contestant) error {
	binary, err := f.build(ctx, c.name, "github.com/wayside-proxy/wayside/test/bench/"+c.name)
	if err != nil {
		return err
	}
	args := append([]string{"-listen", c.address, "-upstream", f.originAddr}, f.tlsArgs()...)
	if c.name == "exchange" {
		args = append(args, "-dir", c.dataDir(f.dir))
	}
	c.process, err = startProcess(c.name, f.dir, nil, binary, args...)
	return err
}

func (f *setup) build(ctx context.Context, name, pkg string) (string, error) {
	binary := filepath.Join(f.dir, "bin-"+name)
	output, err := exec.CommandContext(ctx, "go", "build", "-o", binary, pkg).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, output)
	}
	return binary, nil
}

// dataDir returns the data directory of a wayside.
func (c *contestant) dataDir(dir string) string { return filepath.Join(dir, "data-"+c.name) }

// ready returns a function that checks that the contestant responds with the origin's body. The addresses of wayside are in its run.json.
func (c *contestant) ready(dir string, o options) func(context.Context) error {
	return func(ctx context.Context) error {
		if c.name == "wayside" || c.name == "before" {
			info, err := datadir.ReadInfo(c.dataDir(dir))
			if err != nil {
				return err
			}
			c.address, c.admin = info.Listen, info.Admin
		}
		return answers(ctx, c.address, o)
	}
}

// awaitArchived waits until wayside has drained and archived everything that it recorded, and reports whether that
// happened in time.
func (c *contestant) awaitArchived(ctx context.Context) (bool, error) {
	if c.admin == "" {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for wait := archiveAfter; ; wait = settlePoll { // nothing can be archived earlier
		if err := pause(ctx, wait); err != nil {
			if errors.Is(err, context.Canceled) {
				return false, err
			}
			return false, nil
		}
		var books struct {
			Settled           bool
			Applied, Archived uint64
		}
		text, err := get(ctx, strings.TrimSuffix(c.admin, "/")+"/api/v1/accounting")
		if err == nil {
			err = json.Unmarshal(text, &books)
		}
		if err == nil && books.Settled && books.Archived >= books.Applied {
			return true, nil
		}
	}
}

// stop stops the contestants and then the origin.
func (f *setup) stop() error {
	var errs []error
	for _, c := range f.contestants {
		errs = append(errs, c.process.stop())
	}
	if f.origin != nil {
		errs = append(errs, f.origin.stop())
	}
	return errors.Join(errs...)
}

// originRequests returns the number of requests that the origin has handled, including this one.
func (f *setup) originRequests(ctx context.Context) (uint64, error) {
	text, err := get(ctx, "http://"+f.originAddr+"/bench-status")
	if err != nil {
		return 0, err
	}
	return parseStubStatus(string(text))
}

// parseStubStatus reads the third number of the line below "server accepts handled requests".
func parseStubStatus(text string) (uint64, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 3 {
		return 0, fmt.Errorf("unexpected status page %q", text)
	}
	numbers := strings.Fields(lines[2])
	if len(numbers) != 3 {
		return 0, fmt.Errorf("unexpected status page %q", text)
	}
	return strconv.ParseUint(numbers[2], 10, 64)
}

// answers requests one page and checks that its body is the origin's.
func answers(ctx context.Context, address string, o options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	body, proto, err := fetch(ctx, o.transport(), o.scheme()+address+"/ready")
	switch {
	case err != nil:
		return err
	case o.http2 != "" && proto != "HTTP/2.0":
		return fmt.Errorf("%s responds over %s", address, proto)
	case string(body) != originBody:
		return fmt.Errorf("the response of %s is not the origin's", address)
	}
	return nil
}

// get requests a page without TLS, over HTTP/1.1.
func get(ctx context.Context, url string) ([]byte, error) {
	body, _, err := fetch(ctx, new(http.Transport), url)
	return body, err
}

// fetch requests a page, and returns its body and the protocol of the response.
func fetch(ctx context.Context, transport *http.Transport, url string) (body []byte, proto string, err error) {
	defer transport.CloseIdleConnections() // idle connections would count towards the contestant's figures
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	request.Close = true
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d: %.200s", url, response.StatusCode, body)
	}
	return body, response.Proto, err
}
