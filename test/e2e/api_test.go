package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// section is the description of an endpoint in docs/API.md.
type section struct {
	method, path string // both from the heading
	text         string // the whole section
	request      string // "METHOD target", from the first block
	body         string // body of the request
	json         string // the response of the example, if it is JSON
	plain        string // the response of the example
}

var fence = regexp.MustCompile("(?s)```(json)?\n(.*?)```")

func apiSections(t *testing.T) (out []section) {
	t.Helper()
	text, err := os.ReadFile("../../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n### `")[1:] {
		heading, rest, _ := strings.Cut(part, "`")
		s := section{text: rest}
		s.method, s.path, _ = strings.Cut(heading, " ")
		blocks := fence.FindAllStringSubmatch(rest, -1)
		if len(blocks) != 2 {
			t.Fatalf("%s has %d blocks, want a request and an answer", heading, len(blocks))
		}
		s.request, s.body, _ = strings.Cut(strings.TrimSpace(blocks[0][2]), "\n")
		if s.plain = strings.TrimSpace(blocks[1][2]); blocks[1][1] == "json" {
			s.json = s.plain
		}
		out = append(out, s)
	}
	return out
}

// askAPI sends a request in the form used by docs/API.md and returns the response, or only the beginning if it is a
// stream.
func askAPI(t *testing.T, w *Wayside, request, body string) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	method, target, _ := strings.Cut(request, " ")
	req, err := http.NewRequestWithContext(ctx, method, w.Info().Admin+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		begin := make([]byte, len(": wayside"))
		if _, err := io.ReadFull(resp.Body, begin); err != nil {
			t.Fatalf("%s: %v", request, err)
		}
		return resp.StatusCode, begin
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return resp.StatusCode, answer
}

// byName lists fields whose values are objects that have data as keys.
var byName = []string{"status", "dropped", "error_types", "through", "states", "counts", "bytes", "checks"}

// missing lists the fields of an example that a response does not have.
func missing(example, answer any, at string) (out []string) {
	switch e := example.(type) {
	case map[string]any:
		a, ok := answer.(map[string]any)
		if !ok {
			return []string{at + " is not an object"}
		}
		for key, value := range e {
			if got, there := a[key]; !there {
				out = append(out, at+"."+key)
			} else if !slices.Contains(byName, key) {
				out = append(out, missing(value, got, at+"."+key)...)
			}
		}
	case []any:
		if a, ok := answer.([]any); !ok {
			out = append(out, at+" is not an array")
		} else if len(e) > 0 && len(a) == 0 {
			out = append(out, at+" is empty")
		} else if len(e) > 0 {
			out = append(out, missing(e[0], a[0], at+"[0]")...)
		}
	default:
		if fmt.Sprintf("%T", example) != fmt.Sprintf("%T", answer) {
			out = append(out, fmt.Sprintf("%s is %v", at, answer))
		}
	}
	return out
}

// TestAPIPage sends every example of docs/API.md to a running wayside. The responses must have the fields of the examples, and the
// page must describe every endpoint and parameter that wayside lists.
func TestAPIPage(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t))
	start(t, w)
	for i := range 50 {
		sendRaw(t, w.Listen, "", fmt.Sprintf("GET /users/%d HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n", 1000+i))
	}
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []byte(", 50 events not archived yet, 0 events left by the last archive job\n")
	if _, ready := askAPI(t, w, "GET /readyz?verbose", ""); !bytes.Contains(ready, want) {
		t.Errorf("50 events are recorded and no archive job has run since, but readiness is:\n%s", ready)
	}
	if status, body := askAPI(t, w, "POST /-/job/archive?all=true", ""); status != http.StatusOK {
		t.Fatalf("archive: %d %s", status, body)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // the step of ten seconds must have ended
		if _, body := askAPI(t, w, "GET /api/v1/recent", ""); !bytes.Contains(body, []byte(`"paths":[]`)) && !bytes.Contains(body, []byte(`"count":[]`)) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the recent responses do not appear")
		}
	}
	var ids struct {
		Events []struct {
			EventID string `json:"event_id"`
		}
		Snapshots []struct{ Version uint64 }
	}
	for _, target := range []string{"/api/v1/events?limit=1", "/snapshots"} {
		if _, body := askAPI(t, w, "GET "+target, ""); json.Unmarshal(body, &ids) != nil {
			t.Fatalf("%s: %s", target, body)
		}
	}
	if len(ids.Events) == 0 || len(ids.Snapshots) == 0 {
		t.Fatalf("there is no event or no snapshot: %+v", ids)
	}
	sections := apiSections(t)
	for _, s := range sections {
		request := strings.NewReplacer("{id}", ids.Events[0].EventID, "{version}", fmt.Sprint(ids.Snapshots[0].Version)).Replace(s.request)
		status, answer := askAPI(t, w, request, strings.ReplaceAll(s.body, "/backup/", t.TempDir()+"/"))
		if status != http.StatusOK {
			t.Errorf("%s: %d %s", request, status, answer)
			continue
		}
		if s.json == "" {
			if first, _, _ := strings.Cut(s.plain, "\n"); !bytes.Contains(answer, []byte(first[:min(len(first), 9)])) {
				t.Errorf("%s: %.200s, which does not contain %q", request, answer, first)
			}
			continue
		}
		var example, got any
		if err := json.Unmarshal([]byte(s.json), &example); err != nil {
			t.Errorf("%s: the example is not JSON: %v", s.request, err)
		} else if err := json.Unmarshal(answer, &got); err != nil {
			t.Errorf("%s: the answer is not JSON: %v", request, err)
		} else if list := missing(example, got, ""); len(list) > 0 {
			t.Errorf("%s: the answer lacks these fields of the example: %v\n%.2000s", request, list, answer)
		}
	}
	indexIsOnPage(t, w, sections)
	wrongRequestsAreRefused(t, w)
}

// wrongRequestsAreRefused expects 4xx with a reason for requests that are unclear, and that these change nothing.
func wrongRequestsAreRefused(t *testing.T, w *Wayside) {
	t.Helper()
	const known = "archive, dry_run, host, method, path"
	for _, c := range []struct {
		request, body string
		status        int
		reason        string
	}{
		{"POST /-/forget", `{"path":"/users/*","dryrun":true}`, 400, `unknown key \"dryrun\" in the body: did you mean \"dry_run\"? known: ` + known},
		{"POST /-/forget", `{"path":"/users/*","dry_run":true,"dry_run":false}`, 400, `key \"dry_run\" is in the body more than once`},
		{"POST /-/forget", `{"path":"/users/*","dry_run":null}`, 400, `key \"dry_run\" in the body is null`},
		{"POST /-/forget", `{"pth":"/users/*"}`, 400, `unknown key \"pth\" in the body: did you mean \"path\"?`},
		{"POST /-/forget", `{"path":"/users/*"}{"path":"/users/*"}`, 400, "continues after its JSON object"},
		{"POST /-/forget", "", 400, "must be one JSON object with the keys " + known},
		{"POST /-/job/foo", "", 404, `unknown job \"foo\": known: archive, clean, report, prune`},
		{"POST /-/reload?x=1", "", 400, "takes no parameters"},
		{"GET /api/v1/paths?x=1", "", 400, "unknown parameter"},
	} {
		status, answer := askAPI(t, w, c.request, c.body)
		if status != c.status || !bytes.HasPrefix(answer, []byte(`{"error":"`)) || !bytes.Contains(answer, []byte(c.reason)) {
			t.Errorf("%s %s: %d %s, want %d and %s", c.request, c.body, status, answer, c.status, c.reason)
		}
	}
	if status, answer := askAPI(t, w, "POST /-/forget", `{"path":"/users/*","dry_run":true}`); status != 200 || bytes.Contains(answer, []byte(`"responses": 0`)) {
		t.Errorf("a refused request had an effect: %d %s", status, answer)
	}
}

// indexIsOnPage checks that the page has a section with all parameters for each endpoint of GET /api/v1/, and no other sections.
func indexIsOnPage(t *testing.T, w *Wayside, sections []section) {
	t.Helper()
	var index struct {
		Endpoints []struct {
			Method, Path string
			Parameters   []string
		}
	}
	if _, body := askAPI(t, w, "GET /api/v1/", ""); json.Unmarshal(body, &index) != nil || len(index.Endpoints) == 0 {
		t.Fatalf("the index: %s", body)
	}
	for _, e := range index.Endpoints {
		at := slices.IndexFunc(sections, func(s section) bool { return s.method == e.Method && s.path == e.Path })
		if at < 0 {
			t.Errorf("%s %s is not on the page", e.Method, e.Path)
			continue
		}
		for _, p := range e.Parameters {
			if !strings.Contains(sections[at].text, "`"+p+"`") {
				t.Errorf("%s %s: the page does not explain %s", e.Method, e.Path, p)
			}
		}
	}
	if len(index.Endpoints)+1 != len(sections) { // the index does not list itself
		t.Errorf("%d endpoints are listed, %d are on the page", len(index.Endpoints), len(sections))
	}
}
