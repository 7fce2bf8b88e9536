package difftest

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/outcomes.golden and testdata/differences.txt anew")

// outcome is the result of a scenario with one proxy: a text for each aspect.
type outcome map[string]string

// aspects are the compared aspects of an outcome, in the order in which they are printed.
var aspects = []string{"requests", "request fields", "request form", "request body", "status", "response fields", "response form", "response body", "connection"}

// play runs a scenario through the proxy at addr. talk is the client.
func play(t *testing.T, addr string, r recording, s scenario, talk func(*testing.T, string, scenario) []*response) outcome {
	t.Helper()
	r.play(s)
	responses := talk(t, addr, s)
	o := outcome{"connection": "closed"}
	drop := slices.DeleteFunc(slices.Clone(noise), func(name string) bool { return slices.Contains(s.keep, name) })
	add := func(aspect, text string) {
		if o[aspect] != "" {
			text = o[aspect] + " | " + text
		}
		o[aspect] = text
	}
	for _, m := range r.received() {
		if strings.Contains(m.line, " /end ") {
			o["connection"] = "kept"
			continue
		}
		add("requests", m.line)
		add("request fields", strings.ReplaceAll(fmt.Sprintf("%q", canonical(m.fields, drop)), r.addr(), "ORIGIN"))
		if s.form {
			add("request form", fmt.Sprintf("%q", names(m.fields, drop)))
		}
		if !s.early && s.expect != "final" {
			add("request body", m.text())
		}
	}
	if o["connection"] == "kept" && len(responses) > 0 {
		responses = responses[:len(responses)-1]
	}
	for i, m := range responses {
		if m.line == "" && m.end == "reset" && i > 0 {
			continue // the connection is no longer needed, and how it ends depends on timing
		}
		add("status", m.status())
		if _, ok := m.value("X-Origin"); !ok {
			if m.line == "" {
				add("response body", m.end)
			}
			continue // the proxy itself made this response: its wording is not compared
		}
		add("response fields", fmt.Sprintf("%q", canonical(m.fields, drop)))
		if s.form {
			add("response form", fmt.Sprintf("%q", names(m.fields, drop)))
		}
		add("response body", m.text())
	}
	return o
}

// TestOutcomes pins the behavior of wayside.
func TestOutcomes(t *testing.T) {
	r := newRecorder(t)
	addr, _ := wayside(t, r.ln.Addr().String())
	var text bytes.Buffer
	for _, s := range scenarios() {
		fmt.Fprintf(&text, "%s\n", s.name)
		o := play(t, addr, r, s, talk)
		for _, aspect := range aspects {
			if o[aspect] != "" {
				fmt.Fprintf(&text, "\t%s: %s\n", aspect, o[aspect])
			}
		}
	}
	golden(t, "testdata/outcomes.golden", text.String())
}

// golden compares a text with a golden file, line by line.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		a, b := "", ""
		if i < len(gotLines) {
			a = gotLines[i]
		}
		if i < len(wantLines) {
			b = wantLines[i]
		}
		if a != b {
			t.Fatalf("%s:%d (go test -update writes it)\n got %s\nwant %s", path, i+1, a, b)
		}
	}
}

// TestDifferences compares wayside with the other proxies. Every difference must have a reason, and every reason a difference.
func TestDifferences(t *testing.T) {
	log.SetOutput(io.Discard) // net/http's Transport logs a lot about these responses
	peers := []struct {
		name  string
		start func(*testing.T, string) string
	}{
		{"ReverseProxy", reverseProxy},
		{"nginx", nginx},
		{"haproxy", haproxy},
		{"wayside", func(t *testing.T, backend string) string { addr, _ := wayside(t, backend); return addr }},
	}
	all := scenarios()
	outcomes := make([][]outcome, len(peers))
	t.Run("play", func(t *testing.T) {
		for i, peer := range peers {
			r := newRecorder(t)
			addr := peer.start(t, r.ln.Addr().String())
			outcomes[i] = make([]outcome, len(all))
			t.Run(peer.name, func(t *testing.T) {
				t.Parallel()
				for k, s := range all {
					outcomes[i][k] = play(t, addr, r, s, talk)
				}
			})
		}
	})
	if t.Failed() || len(outcomes[len(peers)-1]) == 0 {
		return
	}
	own := outcomes[len(peers)-1]
	used := map[string]int{}
	count := 0
	var list strings.Builder
	for k, s := range all {
		for i, peer := range peers[:len(peers)-1] {
			for _, aspect := range differing(own[k], outcomes[i][k]) {
				ours, theirs := own[k][aspect], outcomes[i][k][aspect]
				count++
				id := explain(s.name, peer.name, aspect)
				if id == "" {
					t.Errorf("%s: %s: %s differs without a reason\n  wayside %s\n  %s %s", s.name, peer.name, aspect, ours, peer.name, theirs)
				}
				used[id]++
				fmt.Fprintf(&list, "%s\t%s\t%s\t%s\n\twayside: %s\n\t%s: %s\n", id, s.name, peer.name, aspect, ours, peer.name, theirs)
			}
		}
	}
	if *update {
		if err := os.WriteFile("testdata/differences.txt", []byte(list.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checkReasons(t, reasons, used)
	t.Logf("%d scenarios, %d aspects compared, %d differences, %d reasons", len(all), len(all)*len(aspects)*(len(peers)-1), count, len(used))
}

// differing returns the aspects in which two outcomes differ. If the number of requests or the status differs, the later aspects differ as a
// consequence and are left out: a refused request has no fields, and an error does not have the origin's body.
func differing(a, b outcome) []string {
	var out []string
	for _, aspect := range aspects {
		if a[aspect] == b[aspect] {
			continue
		}
		out = append(out, aspect)
		if aspect == "requests" || aspect == "status" {
			break
		}
	}
	return out
}

// checkReasons checks that every reason is needed, and that the documentation lists it together with the RFC section that permits the
// difference. All ids must begin with the same letter.
func checkReasons(t *testing.T, list []reason, used map[string]int) {
	t.Helper()
	documented := documentedReasons(t, list[0].id[:1])
	for _, r := range list {
		if used[r.id] == 0 {
			t.Errorf("%s explains nothing any more", r.id)
		}
		if !documented[r.id] {
			t.Errorf("%s is not in docs/HTTP.md with an RFC section", r.id)
		}
	}
	for id := range documented {
		if used[id] == 0 {
			t.Errorf("docs/HTTP.md explains %s, which nothing needs", id)
		}
	}
}

// documentedReasons returns the reasons with this letter that docs/HTTP.md lists together with an RFC section.
func documentedReasons(t *testing.T, letter string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/HTTP.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (`+letter+`\d+) \|.*\bRFC \d+.*\|$`).FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	return documented
}

// reason explains the differences between wayside and some peers in some scenarios and aspects. An empty field means any.
type reason struct {
	id        string
	peers     string // regular expression
	aspects   string
	scenarios string
}

func explain(scenario, peer, aspect string) string {
	for _, r := range reasons {
		if matches(r.peers, peer) && matches(r.aspects, aspect) && matches(r.scenarios, scenario) {
			return r.id
		}
	}
	return ""
}

func matches(pattern, s string) bool {
	return pattern == "" || regexp.MustCompile("^(?:"+pattern+")$").MatchString(s)
}
