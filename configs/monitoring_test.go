package configs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promtool finds promtool in PATH, or where scripts/promtool.sh installs it. If it is missing, the test is skipped.
func promtool(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("promtool"); err == nil {
		return path
	}
	path, err := filepath.Abs("../bin/promtool")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Skip("SKIPPED: no promtool, so alert rules and queries were NOT checked: run scripts/promtool.sh")
	}
	return path
}

func TestAlertRules(t *testing.T) {
	tool := promtool(t)
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "prometheus-rules.yaml"},
		{"test", "rules", "prometheus-rules.test.yaml"},
	} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// grafana has the fields of a Grafana dashboard that the tests check.
type grafana struct {
	UID         string
	Annotations struct{ List []struct{ Expr string } }
	Links       []struct{ URL string }
	Panels      []struct {
		ID                       int
		Title, Type, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ Expr string }
		FieldConfig              struct {
			Defaults struct {
				Links      []struct{ URL string }
				Thresholds struct {
					Steps []struct {
						Color string
						Value *float64
					}
				}
			}
		}
	}
	Templating struct{ List []struct{ Name string } }
}

func readGrafana(t *testing.T) *grafana {
	t.Helper()
	text, err := os.ReadFile("grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d grafana
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// TestGrafanaDashboard checks that panels do not overlap, and that Prometheus can parse each query: promtool checks them as rules.
func TestGrafanaDashboard(t *testing.T) {
	d := readGrafana(t)
	taken, ids := map[[2]int]string{}, map[int]bool{}
	rules := strings.Builder{}
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q overlaps %q or the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		for _, target := range p.Targets {
			quoted, _ := json.Marshal(withoutVariables(target.Expr))
			rules.WriteString("  - {record: \"dashboard:query\", expr: " + string(quoted) + "}\n")
		}
	}
	for _, a := range d.Annotations.List {
		quoted, _ := json.Marshal(withoutVariables(a.Expr))
		rules.WriteString("  - {record: \"dashboard:query\", expr: " + string(quoted) + "}\n")
	}
	file := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool(t), "check", "rules", "--lint=none", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

var interval = regexp.MustCompile(`\$__rate_interval`)

func withoutVariables(expr string) string { return interval.ReplaceAllString(expr, "5m") }

// TestGrafanaVariablesAndLinks: all variables are defined, each query of paths has the variable for the path, links lead into wayside with
// the range of the dashboard, and there are annotations.
func TestGrafanaVariablesAndLinks(t *testing.T) {
	d := readGrafana(t)
	var known []string
	for _, v := range d.Templating.List {
		known = append(known, v.Name)
	}
	var links, queries []string
	for _, l := range d.Links {
		links = append(links, l.URL)
	}
	for _, a := range d.Annotations.List {
		queries = append(queries, a.Expr)
	}
	if len(links) != 1 || len(queries) != 1 {
		t.Errorf("%d links, %d annotations", len(links), len(queries))
	}
	for _, p := range d.Panels {
		for _, l := range p.FieldConfig.Defaults.Links {
			links = append(links, l.URL)
		}
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
			if strings.Contains(target.Expr, "http_server_request_duration_seconds") && !strings.Contains(target.Expr, `http_route=~"$route"`) {
				t.Errorf("panel %q ignores the chosen paths: %s", p.Title, target.Expr)
			}
		}
	}
	if len(links) < 5 {
		t.Errorf("only %d links lead into wayside", len(links))
	}
	for _, l := range links {
		path, query, found := strings.Cut(strings.TrimPrefix(l, "${wayside}/#/"), "?")
		if !strings.HasPrefix(l, "${wayside}/#/") || path != "" && path != "path" || found && !strings.HasSuffix(query, "range=custom&from=${__from:date:iso}&to=${__to:date:iso}") {
			t.Errorf("the link %s", l)
		}
	}
	for _, text := range append(queries, links...) {
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			if name := m[1]; !slices.Contains(known, name) && !strings.HasPrefix(name, "__") {
				t.Errorf("%s: unknown variable %s", text, name)
			}
		}
	}
}

var variable = regexp.MustCompile(`\$\{?([a-z_]+)`)

// TestGrafanaShowsBrokenBooksInRed: the panels about the state of the books are red at the values that mean trouble, and only at those.
func TestGrafanaShowsBrokenBooksInRed(t *testing.T) {
	d := readGrafana(t)
	for title, values := range map[string]struct{ good, bad float64 }{
		"Books process": {1, 0}, "Accounting": {1, 0}, "Recording": {0, 1}, "Applying": {0, 1}, "Not recorded, 24 h": {0, 1},
		"Archive failures in a row": {0, 3}, "Paths that fail now": {0, 1}, "Disk full in": {30 * 86400, 3600},
	} {
		found := false
		for _, p := range d.Panels {
			if p.Title != title {
				continue
			}
			found = true
			for value, want := range map[float64]string{values.good: "green", values.bad: "red"} {
				color := ""
				for _, s := range p.FieldConfig.Defaults.Thresholds.Steps {
					if s.Value == nil || value >= *s.Value {
						color = s.Color
					}
				}
				if color != want {
					t.Errorf("panel %q is %s at %g, want %s", title, color, value, want)
				}
			}
		}
		if !found {
			t.Errorf("there is no panel %q", title)
		}
	}
}
