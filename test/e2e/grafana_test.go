package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/testlog"
)

// grafanaPanel is a panel of the Grafana dashboard, as far as the test needs it.
type grafanaPanel struct {
	Title   string
	Targets []struct{ Expr string }
}

// grafanaDashboard has the parts of the Grafana dashboard that contain queries.
type grafanaDashboard struct {
	Annotations struct{ List []struct{ Expr string } }
	Panels      []grafanaPanel
	Templating  struct {
		List []struct{ Name, Definition string }
	}
}

// grafanaVariables replaces variables as Grafana does: all values, and a short interval for rates.
var grafanaVariables = strings.NewReplacer("$__rate_interval", "20s", "$job", ".*", "$instance", ".*", "$route", ".*")

// quietPanels have no series while nothing is wrong.
var quietPanels = []string{"wayside_spool_dropped_total"}

// TestGrafanaDashboardOnPrometheus evaluates the queries of the Grafana dashboard in a real Prometheus that scrapes a real wayside. All
// queries must have results, and the state of the books process must change while that process is suspended.
func TestGrafanaDashboardOnPrometheus(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/failing":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/broken":
			panic(http.ErrAbortHandler) // closes the connection without a response
		}
		_, _ = io.WriteString(w, OriginBody)
	}))
	t.Cleanup(server.Close)
	w, _ := newWayside(t, server.URL)
	start(t, w)
	p := startPrometheus(t, w)
	before := time.Now()
	if out, err := exec.Command(w.Binary, "mark", "deploy 2.4.1", "--data", w.DataDir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile("../../configs/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d grafanaDashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	missing := p.missing(t, w, &d)
	if len(missing) > 0 {
		t.Fatalf("no results:\n%s", strings.Join(missing, "\n"))
	}
	marked := false
	for _, s := range p.query(t, d.Annotations.List[0].Expr) {
		at := time.UnixMilli(int64(s.value))
		marked = marked || s.labels["kind"] == "mark" && s.labels["mark"] == "deploy 2.4.1" && at.After(before.Add(-time.Second)) && at.Before(time.Now())
	}
	if !marked {
		t.Error("the mark has no annotation")
	}
	p.checkPaths(t, &d)
	state := stateQuery(t, &d)
	signalBooks(t, w, syscall.SIGSTOP)
	p.await(t, state, 0)
	signalBooks(t, w, syscall.SIGCONT)
	p.await(t, state, 1)
}

// stateQuery returns the query of the panel that shows whether the books process is running.
func stateQuery(t *testing.T, d *grafanaDashboard) string {
	t.Helper()
	i := slices.IndexFunc(d.Panels, func(p grafanaPanel) bool { return p.Title == "Books process" })
	if i < 0 {
		t.Fatal("no panel shows the books process")
	}
	return d.Panels[i].Targets[0].Expr
}

// missing sends requests until all queries of the dashboard have results. It returns the queries that still have none after two minutes.
func (p *prometheusServer) missing(t *testing.T, w *Wayside, d *grafanaDashboard) []string {
	left := map[string]bool{}
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			left[target.Expr] = !slices.ContainsFunc(quietPanels, func(name string) bool {
				return strings.Contains(target.Expr, name) && strings.Contains(target.Expr, "> 0")
			})
		}
	}
	for _, a := range d.Annotations.List {
		left[a.Expr] = true
	}
	maps.DeleteFunc(left, func(_ string, wanted bool) bool { return !wanted })
	for deadline := time.Now().Add(2 * time.Minute); len(left) > 0 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for _, path := range []string{"/fine", "/failing", "/broken"} {
			sendRaw(t, w.Listen, "", "GET "+path+" HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
		}
		for expr := range left {
			if slices.ContainsFunc(p.query(t, expr), func(s sample) bool { return s.value == s.value }) { // not NaN
				delete(left, expr)
			}
		}
	}
	return slices.Sorted(maps.Keys(left))
}

// checkPaths checks that the variable for the path offers the paths that had requests.
func (p *prometheusServer) checkPaths(t *testing.T, d *grafanaDashboard) {
	t.Helper()
	for _, v := range d.Templating.List {
		if v.Name != "route" {
			continue
		}
		selector, _, _ := strings.Cut(strings.TrimPrefix(grafanaVariables.Replace(v.Definition), "label_values("), ", ")
		var answer struct{ Data []string }
		p.get(t, "/api/v1/label/http_route/values?match[]="+url.QueryEscape(selector), &answer)
		for _, path := range []string{"/fine", "/failing", "/broken"} {
			if !slices.Contains(answer.Data, path) {
				t.Errorf("the variable does not offer %s: %q", path, answer.Data)
			}
		}
		return
	}
	t.Error("there is no variable for the path")
}

// prometheusServer is a running Prometheus.
type prometheusServer struct{ base string }

// sample is one series in the result of a query.
type sample struct {
	labels map[string]string
	value  float64
}

// startPrometheus starts a Prometheus that scrapes wayside every second. Without Prometheus, the test is skipped.
func startPrometheus(t *testing.T, w *Wayside) *prometheusServer {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		if binary, err = filepath.Abs("../../bin/prometheus"); err == nil {
			_, err = os.Stat(binary)
		}
	}
	if err != nil {
		t.Skip("SKIPPED, the Grafana dashboard was NOT evaluated: there is no prometheus, run scripts/promtool.sh")
	}
	address := loopback.Free(t)
	dir := t.TempDir()
	config := fmt.Sprintf("scrape_configs:\n- job_name: wayside\n  scrape_interval: 1s\n  static_configs: [{targets: [%q]}]\n", strings.TrimPrefix(w.Info().Admin, "http://"))
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &testlog.Buffer{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", log)
		}
	})
	p := &prometheusServer{"http://" + address}
	eventually(t, "prometheus is ready", func() bool {
		resp, err := http.Get(p.base + "/-/ready")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return p
}

func (p *prometheusServer) get(t *testing.T, path string, into any) {
	t.Helper()
	resp, err := http.Get(p.base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s, %v", path, resp.Status, body, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
}

// query evaluates a query of the dashboard.
func (p *prometheusServer) query(t *testing.T, expr string) (samples []sample) {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	p.get(t, "/api/v1/query?query="+url.QueryEscape(grafanaVariables.Replace(expr)), &answer)
	for _, r := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		samples = append(samples, sample{r.Metric, value})
	}
	return samples
}

// await waits until a query has a single result with this value.
func (p *prometheusServer) await(t *testing.T, expr string, value float64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is %g", expr, value), func() bool {
		s := p.query(t, expr)
		return len(s) == 1 && s[0].value == value
	})
}
