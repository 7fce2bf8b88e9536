package weekly

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// answers are responses of the API by the beginning of the path.
type answers map[string]string

func (a answers) Ask(_ context.Context, path string) ([]byte, error) {
	for begin, body := range a {
		if strings.HasPrefix(path, begin) {
			return []byte(body), nil
		}
	}
	return nil, fmt.Errorf("%s: not found", path)
}

// hostile is a path that would do something in a terminal and in HTML.
const hostile = `/<script>alert(1)</script>\u001b[2J`

func week() answers {
	row := func(path string, count, errors, p95 int) string {
		return fmt.Sprintf(`{"host":"shop","method":"GET","path":"%s","count":%d,"errors":%d,"latency_us":{"p95":%d}}`, path, count, errors, p95)
	}
	return answers{
		"/api/v1/paths?from=-167h": `{"from":"2026-11-22T21:00:00Z","to":"2026-11-29T21:00:00Z","totals":{"count":7000,"errors":70,"rate":0.5,"seconds":302400,"latency_us":{"p50":900,"p95":12000,"p99":1500000}},
			"paths":[` + row("/", 5000, 0, 3000) + "," + row("/search", 1500, 60, 90_000) + "," + row(hostile, 90, 10, 900_000) + `]}`,
		"/api/v1/paths?from=-335h&to=-168h": `{"totals":{"count":3500,"errors":7,"seconds":604800,"latency_us":{"p50":900,"p95":6000,"p99":1500000}}}`,
		"/api/v1/series":                    `{"points":[{"time":"2026-11-28T21:00:00Z","count":6000,"errors":60,"latency_us":{"p95":11000}},{"time":"2026-11-27T21:00:00Z","count":0,"latency_us":{}}]}`,
		"/api/v1/changes": `{"total":12,"changes":[{"kind":"failing","host":"shop","method":"GET","path":"/search","count":1500,"errors":60,"latency_us":{},
			"before":{"count":700,"errors":1,"latency_us":{}},"affected":60},{"kind":"slower","host":"shop","method":"GET","path":"` + hostile + `","count":90,"latency_us":{"p95":900000},
			"before":{"count":90,"latency_us":{"p95":90000}},"affected":9}]}`,
		"/api/v1/marks":      `{"marks":[{"time":"2026-11-24T10:00:00Z","kind":"start","text":"wayside started"},{"time":"2026-11-25T10:00:00Z","kind":"mark","text":"deploy <b>2.4.1</b>"}]}`,
		"/api/v1/accounting": `{"responses":10500,"recorded":10490,"dropped_total":10,"quarantined":0,"balanced":true}`,
	}
}

func TestWeek(t *testing.T) {
	w, err := Load(t.Context(), week())
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Slowest) != 2 || w.Slowest[0].Path != "/search" || w.MostFailing[0].Path != "/search" || w.Busiest[0].Path != "/" {
		t.Errorf("ranks: %+v, %+v, %+v", w.Slowest, w.MostFailing, w.Busiest)
	}
	var text, page bytes.Buffer
	if err := errors.Join(w.Text(&text), w.HTML(&page)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"7,000", "+100 %", "1.00 %", "before 0.20 %", "12.0 ms", "1.50 s", "/search", "4.00 %", "before 0.14 %", "deploy", "10 could not be recorded", "50.00 %"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, &text)
		}
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, &page)
		}
	}
	if strings.ContainsRune(text.String(), '\x1b') || strings.Contains(text.String(), "wayside started") {
		t.Errorf("%q", text.String())
	}
	if strings.Contains(page.String(), "<script") || strings.Contains(page.String(), "<b>2") || !strings.Contains(page.String(), "&lt;script&gt;") {
		t.Errorf("%s", page.String())
	}
}

// The numbers of requests of two weeks are compared if both weeks cover about the same time.
func TestRequestsAreComparedLikeWithLike(t *testing.T) {
	for seconds, want := range map[float64]string{604800: "", 302400: "+100 %", 290000: "+100 %", 3600: ""} {
		w := &Week{Totals: Figures{Count: 7000, Seconds: 302400}, Before: Figures{Count: 3500, Seconds: seconds}}
		if got := w.tiles()[0][2]; got != want {
			t.Errorf("%.0f seconds: %q, not %q", seconds, got, want)
		}
	}
}

// Without a week before, and with books that do not add up, the review says so.
func TestFirstWeek(t *testing.T) {
	a := week()
	a["/api/v1/paths?from=-167h"] = `{"from":"2026-11-22T21:00:00Z","to":"2026-11-29T21:00:00Z","totals":{"latency_us":{}},"paths":[]}`
	a["/api/v1/paths?from=-335h&to=-168h"] = `{"totals":{"latency_us":{}}}`
	a["/api/v1/accounting"] = `{"balanced":false}`
	w, err := Load(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	var text, page bytes.Buffer
	if err := errors.Join(w.Text(&text), w.HTML(&page)); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{text.String(), page.String()} {
		if !strings.Contains(out, "There are no figures of that week") || !strings.Contains(out, "do not add up") || !strings.Contains(out, "0.00 %") {
			t.Error(out)
		}
	}
	delete(a, "/api/v1/changes")
	if _, err := Load(t.Context(), a); err == nil {
		t.Error("an endpoint that does not answer is no error")
	}
}
