package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/spool"
	"github.com/wayside-proxy/wayside/test/testlog"
)

// sendRaw writes raw bytes to the proxy, from a given local address unless it is empty, and returns the status and body of the
// first response.
func sendRaw(t *testing.T, address, from, raw string) (int, string) {
	t.Helper()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", raw[:min(len(raw), 80)], err)
	}
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// TestTrafficDoesNotReachTheAdminListener requests every admin endpoint from the traffic listener, both directly and as
// from a forward proxy. Each request must reach the application and nothing else.
func TestTrafficDoesNotReachTheAdminListener(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t))
	start(t, w)
	admin := strings.TrimPrefix(w.Info().Admin, "http://")
	for _, path := range []string{
		"/", "/snapshot", "/snapshots", "/api/v1/accounting", "/api/v1/paths", "/api/v1/tail", "/metrics", "/livez", "/readyz",
		"/internal/view", "/-/job/archive", "/-/reload", "/debug/pprof/", "/assets/app.js",
	} {
		for name, raw := range map[string]string{
			"as it is":      "GET " + path + " HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n",
			"admin's host":  "GET " + path + " HTTP/1.1\r\nHost: " + admin + "\r\nConnection: close\r\n\r\n",
			"absolute form": "GET http://" + admin + path + " HTTP/1.1\r\nHost: " + admin + "\r\nConnection: close\r\n\r\n",
			"post":          "POST " + path + " HTTP/1.1\r\nHost: " + admin + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		} {
			if _, body := sendRaw(t, w.Listen, "", raw); body != OriginBody {
				t.Errorf("%s, %s: the answer is %q and not the application's", path, name, body[:min(len(body), 100)])
			}
		}
	}
	if status, body := sendRaw(t, w.Listen, "", "CONNECT "+admin+" HTTP/1.1\r\nHost: "+admin+"\r\nConnection: close\r\n\r\n"); status/100 == 2 && body != OriginBody {
		t.Errorf("CONNECT: %d %q", status, body)
	}
}

// TestMetricsAreClean checks /metrics with promtool. All metrics of the alert rules and of the Grafana dashboard must be there.
func TestMetricsAreClean(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t))
	start(t, w)
	for range 50 {
		sendRaw(t, w.Listen, "", "GET /a HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
	}
	figures, err := w.AwaitSettled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var metrics []byte
	eventually(t, "all figures in /metrics", func() bool { // these require the books process
		metrics, err = w.Ask(t.Context(), http.MethodGet, "/metrics")
		return err == nil && bytes.Contains(metrics, []byte("\nwayside_accounting_balanced ")) && bytes.Contains(metrics, []byte("\nwayside_mark_timestamp_seconds{"))
	})
	if want := fmt.Sprintf(`_count{http_request_method="GET",http_response_status_code="200",http_route="/a"} %d`+"\n", figures.Applied); !strings.Contains(string(metrics), want) {
		t.Errorf("/metrics does not contain %s", want)
	}
	names := string(metrics)
	for _, file := range []string{"prometheus-rules.yaml", "grafana-dashboard.json"} {
		text, err := os.ReadFile(filepath.Join("../../configs", file))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`\b(wayside|http_server|process)_[a-z_]+\b`).FindAllString(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s has only %d metrics", file, len(found))
		}
		for _, name := range found {
			if !strings.Contains(names, name) {
				t.Errorf("%s uses %s, which wayside does not have", file, name)
			}
		}
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if tool, err = filepath.Abs("../../bin/promtool"); err == nil {
			_, err = os.Stat(tool)
		}
	}
	if err != nil {
		t.Skip("SKIPPED, the metrics were NOT linted: there is no promtool, run scripts/promtool.sh")
	}
	lint := exec.Command(tool, "check", "metrics")
	lint.Stdin = strings.NewReader(string(metrics))
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestCountersExistFromTheStart checks that every counter in an alert rule exists from the start, with every label
// value in the rule. Prometheus cannot see the first increase of a counter that did not exist at the previous scrape.
func TestCountersExistFromTheStart(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t))
	start(t, w)
	if _, err := w.AwaitSettled(t.Context()); err != nil { // so that the books process is running
		t.Fatal(err)
	}
	metrics, err := w.Ask(t.Context(), http.MethodGet, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("../../configs/prometheus-rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	there := func(name, label, value string) bool {
		return regexp.MustCompile(`(?m)^` + name + `(\{(.*,)?` + label + value + `[,}].*)? [0-9]`).Match(metrics)
	}
	selectors := regexp.MustCompile(`\b(wayside_[a-z_]+_total)(?:\{([a-z_]+)=~?"([^"]*)"\})?`).FindAllStringSubmatch(string(rules), -1)
	if len(selectors) < 8 {
		t.Fatalf("the rules have only %d counters: %v", len(selectors), selectors)
	}
	for _, m := range selectors {
		name, label, values := m[1], m[2], m[3]
		if label == "" && !regexp.MustCompile(`(?m)^`+name+`[ {]`).Match(metrics) {
			t.Errorf("%s does not exist before its first increment", name)
		}
		for value := range strings.SplitSeq(values, "|") {
			if label != "" && !there(name, label+`="`, value+`"`) {
				t.Errorf("%s{%s=%q} does not exist before its first increment", name, label, value)
			}
		}
	}
	for _, gauge := range []string{"wayside_accounting_balanced 1", "wayside_data_full_in_seconds [+0-9]"} {
		eventually(t, gauge, func() bool {
			metrics, err := w.Ask(t.Context(), http.MethodGet, "/metrics")
			return err == nil && regexp.MustCompile(`(?m)^`+gauge).Match(metrics)
		})
	}
	for _, reason := range spool.DropReasons() {
		if !there("wayside_spool_dropped_total", `reason="`, reason+`"`) {
			t.Errorf("the counter of drops for the reason %s does not exist before the first drop", reason)
		}
	}
}

// tmux drives a terminal of 120 by 32 cells in which a command runs.
type tmux struct {
	t      *testing.T
	socket string
}

func startTmux(t *testing.T, command ...string) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("SKIPPED, wayside top was NOT run in a terminal: there is no tmux")
	}
	m := &tmux{t, filepath.Join(t.TempDir(), "tmux")}
	m.run(append([]string{"new-session", "-d", "-x", "120", "-y", "32"}, command...)...)
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", m.socket, "kill-server").Run() })
	return m
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", m.socket}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// press sends keys and waits until the screen shows a text.
func (m *tmux) press(until string, keys ...string) string {
	m.t.Helper()
	if len(keys) > 0 {
		m.run(append([]string{"send-keys"}, keys...)...)
	}
	screen := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if screen = m.run("capture-pane", "-p"); strings.Contains(screen, until) {
			return screen
		}
	}
	m.t.Fatalf("after %q the screen does not show %q:\n%s", keys, until, screen)
	return ""
}

// TestTopInATerminal uses the keys of wayside top in a real terminal.
func TestTopInATerminal(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, OriginBody)
	}))
	t.Cleanup(server.Close)
	w, _ := newWayside(t, server.URL)
	start(t, w)
	for i := range 30 {
		path := []string{"/hot", "/hot", "/broken"}[i%3]
		sendRaw(t, w.Listen, "", "GET "+path+" HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
	}
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := startTmux(t, w.Binary, "top", "--data", w.DataDir)
	screen := m.press("/broken")
	if hot, broken := strings.Index(screen, "/hot"), strings.Index(screen, "/broken"); hot < 0 || hot > broken || !strings.Contains(screen, "▼REQUESTS") {
		t.Errorf("the rows are not ordered by requests:\n%s", screen)
	}
	screen = m.press("▼ERRORS", "s")
	if strings.Index(screen, "/broken") > strings.Index(screen, "/hot") {
		t.Errorf("the rows are not ordered by errors:\n%s", screen)
	}
	screen = m.press("filter: hot", "/", "hot", "Enter")
	if strings.Contains(screen, "/broken") {
		t.Errorf("the filter removes nothing:\n%s", screen)
	}
	screen = m.press("LATEST EVENTS", "Enter")
	if !strings.Contains(screen, "GET /hot") || !strings.Contains(screen, "200 20") {
		t.Errorf("the path:\n%s", screen)
	}
	t.Logf("a path in wayside top:\n%s", screen)
	m.press("▼ERRORS", "Escape")
}

// startTail runs wayside tail and returns its lines and its standard error. The channel is closed when the process ends.
func startTail(t *testing.T, w *Wayside, args ...string) (<-chan string, *testlog.Buffer) {
	t.Helper()
	tail := exec.Command(w.Binary, append([]string{"tail", "--data", w.DataDir}, args...)...)
	stderr := &testlog.Buffer{}
	tail.Stderr = stderr
	out, err := tail.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tail.Process.Kill(); _ = tail.Wait() })
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	return lines, stderr
}

// tailed sends requests to the paths until tail shows a line. It repeats them, because the stream begins a moment after
// the process has started.
func tailed(t *testing.T, w *Wayside, lines <-chan string, stderr *testlog.Buffer, paths ...string) string {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		for _, path := range paths {
			sendRaw(t, w.Listen, "", "GET "+path+" HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
		}
		select {
		case line, more := <-lines:
			if !more {
				t.Fatalf("tail has ended: %s", stderr)
			}
			return line
		case <-time.After(500 * time.Millisecond):
		case <-deadline:
			t.Fatalf("tail shows nothing: %s", stderr)
		}
	}
}

// TestTailAndTopInAPipe runs tail with filters, and top without a terminal.
func TestTailAndTopInAPipe(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t))
	start(t, w)
	lines, stderr := startTail(t, w, "--path", "/wanted/*", "--output", "json")
	if line := tailed(t, w, lines, stderr, "/other", "/wanted/1"); !strings.Contains(line, `"url_path":"/wanted/1"`) {
		t.Errorf("tail shows %q", line)
	}
	slow, stderr := startTail(t, w, "--slower-than", "1h") // nothing is that slow
	lines, _ = startTail(t, w, "--status", "404,5xx,200", "--method", "get", "--host", "shop", "--path", "/other")
	if line := tailed(t, w, lines, stderr, "/wanted/2", "/other"); !strings.Contains(line, "shop/other") || !strings.Contains(line, "200") {
		t.Errorf("tail shows %q", line)
	}
	select {
	case line := <-slow:
		t.Errorf("tail shows an event that is not slow enough, or has ended: %q %s", line, stderr)
	default:
	}
	table, err := exec.Command(w.Binary, "top", "--data", w.DataDir).Output()
	if err != nil || !strings.Contains(string(table), "/other") || strings.Contains(string(table), "\x1b") {
		t.Errorf("%v\n%s", err, table)
	}
}

// TestTailAndTopWaitForTheBooks runs tail and top before the books process has started.
func TestTailAndTopWaitForTheBooks(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t), "--no-collector")
	start(t, w)
	lines, stderr := startTail(t, w)
	top := exec.Command(w.Binary, "top", "--data", w.DataDir)
	var table, waiting testlog.Buffer
	top.Stdout, top.Stderr = &table, &waiting
	if err := top.Start(); err != nil {
		t.Fatal(err)
	}
	for _, stderr := range []*testlog.Buffer{stderr, &waiting} {
		eventually(t, "the command says that it waits", func() bool { return strings.Contains(stderr.String(), "books process is unavailable") })
	}
	sendRaw(t, w.Listen, "", "GET /early HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
	collect := exec.Command(w.Binary, "collect", "--data", w.DataDir)
	if err := collect.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = collect.Process.Signal(syscall.SIGTERM); _ = collect.Wait() })
	if err := top.Wait(); err != nil || !strings.Contains(table.String(), "PATH") {
		t.Errorf("top: %v %s\n%s", err, &waiting, &table)
	}
	if line := tailed(t, w, lines, stderr, "/late"); !strings.Contains(line, "/early") && !strings.Contains(line, "/late") {
		t.Errorf("tail shows %q", line)
	}
}
