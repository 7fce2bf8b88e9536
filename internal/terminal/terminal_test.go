package terminal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/wayside-proxy/wayside/internal/timeparse"
)

// hostile contains texts with sequences that a terminal interprets.
var hostile = []string{
	"/a\x1b[2Jb", "/a\x1b]0;title\x07", "/\r\n/b", "/\x9b31m", "/a\u202egnp.exe", "/\u200b", "/e\u0301\u0301\u0301", "/\xff\xfe", "/a\tb\x00\x7f",
}

func TestSafeRemovesControls(t *testing.T) {
	for _, text := range hostile {
		got := Safe(text)
		for _, r := range got {
			if !unicode.IsPrint(r) || unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r) {
				t.Errorf("%q: %q keeps %U", text, got, r)
			}
		}
		if ansi.Strip(got) != got {
			t.Errorf("%q is still a sequence: %q", text, got)
		}
	}
	if got := Safe("/Straße/日本?"); got != "/Straße/日本?" {
		t.Errorf("ordinary text became %q", got)
	}
}

func TestTailShowsColumns(t *testing.T) {
	var out, notice bytes.Buffer
	stream := ": wayside\n\nevent: event\ndata: " +
		`{"ts":"2026-11-23T12:00:00.123456Z","http_request_method":"GET","url_path":"/a\u001b[2J","http_response_status_code":503,"duration_us":1500,"server_address":"shop"}` +
		"\n\n: still here\n\nevent: missed\ndata: 12\n\n"
	if err := Tail(strings.NewReader(stream), TailOptions{Out: &out, Notice: &notice}); err != nil {
		t.Fatal(err)
	}
	if line := out.String(); !strings.Contains(line, "503") || !strings.Contains(line, "1.50ms") || !strings.Contains(line, "shop/a·[2J\n") {
		t.Errorf("%q", line)
	}
	if !strings.Contains(notice.String(), "12 events") {
		t.Errorf("%q", notice.String())
	}
}

func TestPictures(t *testing.T) {
	if got := spark([]uint32{0, 1, 2, 4, 8}, 5); got != " ▁▂▄█" {
		t.Errorf("%q", got)
	}
	if got := spark([]uint32{1, 1, 1, 1, 4, 4}, 3); got != "▂▂█" {
		t.Errorf("%q", got)
	}
	if got := bars([]uint32{0, 4, 8}, 3, 2); got[0] != "  █" || got[1] != " ██" {
		t.Errorf("%q", got)
	}
	for _, n := range []uint64{0, 7, 999, 1000, 1234567, 1 << 60} {
		if text := number(n); ansi.StringWidth(text) > 13 || text == "" {
			t.Errorf("%d is %q", n, text)
		}
	}
}

// table answers requests as the API does, with the rows of a test.
type table struct {
	rows      []string // JSON
	upstreams string   // JSON; if empty, the response is 404
	failing   string   // JSON; empty: nothing fails
	fail      error
}

func (a *table) Ask(_ context.Context, path string) ([]byte, error) {
	if a.fail != nil {
		return nil, a.fail
	}
	switch {
	case strings.HasPrefix(path, "/api/v1/paths"):
		return fmt.Appendf(nil, `{"paths":[%s],"totals":{"count":30,"errors":3,"dropped":{"full":1200,"age":34}}}`, strings.Join(a.rows, ",")), nil
	case strings.HasPrefix(path, "/api/v1/recent"):
		return []byte(`{"step_seconds":10,"totals":{"count":[0,1,2,3,4,5],"rate":7.5},"paths":[{"host":"h","method":"GET","path":"/b","count":[0,1,2,3,4,5],"rate":6.25}]}`), nil
	case strings.HasPrefix(path, "/api/v1/series"):
		return []byte(`{"points":[],"totals":{"count":10,"status":{"200":9,"503":1}}}`), nil
	}
	if strings.HasPrefix(path, "/api/v1/failing") {
		return []byte(cmp.Or(a.failing, `{"incidents":[]}`)), nil
	}
	if path == "/api/v1/upstreams" {
		if a.upstreams == "" {
			return nil, errors.New("not found")
		}
		return []byte(a.upstreams), nil
	}
	return []byte(`{"events":[]}`), nil
}

// Servers that receive no requests are named above the table.
func TestTopNamesUnusedServers(t *testing.T) {
	const line = "1 of 2 servers receive no requests: 10.0.0.7:80 (ejected)"
	a := &table{rows: []string{row1("/a", 10, 0, 1)}}
	for upstreams, want := range map[string]bool{
		`{"groups":[{"servers":[{"upstream":"10.0.0.7:80","state":"ejected"},{"upstream":"10.0.0.8:80","state":"up"}]}]}`: true,
		`{"groups":[{"servers":[{"upstream":"10.0.0.8:80","state":"up"}]}]}`:                                              false,
		"": false,
	} {
		a.upstreams = upstreams
		s := newScreen(t, a)
		s.Update(tea.WindowSizeMsg{Width: 100, Height: 20})
		if got := strings.Contains(ansi.Strip(s.View().Content), line); got != want {
			t.Errorf("%s: %v", upstreams, got)
		}
	}
}

// What fails now is above everything else, on the screen and in a pipe.
func TestTopNamesWhatFails(t *testing.T) {
	since := time.Now().Add(-time.Minute).UTC().Truncate(time.Minute)
	at := since.Local().Format("15:04")
	a := &table{rows: []string{row1("/a", 10, 0, 1)}, failing: fmt.Sprintf(`{"incidents":[
		{"kind":"errors","host":"h","method":"POST","path":"/checkout\u001b[2J","since":%q,"share":0.57,"usual_share":0.001,"usual_count":5000,"affected":412},
		{"kind":"slow","host":"h","method":"GET","path":"/search","since":%q,"share":0.3,"usual_count":900,"p95_us":840000,"usual_p95_us":90000,"affected":12}]}`,
		since.Format(time.RFC3339), since.Format(time.RFC3339))}
	s := newScreen(t, a)
	s.Update(tea.WindowSizeMsg{Width: 140, Height: 20})
	var once bytes.Buffer
	if err := TopOnce(t.Context(), TopOptions{Ask: a}, &once); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"screen": s.text(), "pipe": once.String()} {
		lines := strings.Split(text, "\n")
		if name == "screen" {
			lines = lines[1:] // the title
		}
		if !strings.Contains(lines[0], "FAILING POST /checkout·[2J  57.0% errors, usually 0.10%, since "+at+", 412 failed") {
			t.Errorf("%s: %q", name, lines[0])
		}
		if !strings.Contains(lines[1], "SLOW    GET /search  p95 840ms, usually 90.0ms, since "+at+", 12 slow requests") {
			t.Errorf("%s: %q", name, lines[1])
		}
	}
	a.failing = ""
	if s.Update(s.load()()); strings.Contains(s.text(), "FAILING") {
		t.Error("it is over, and the screen still says it")
	}
}

// Most services always have a few errors, so only the errors of paths that are failing now are red.
func TestOnlyFailingPathsAreRed(t *testing.T) {
	a := &table{
		rows:    []string{row1("/selected", 3000, 0, 1), row1("/usual", 2000, 4, 1), row1("/broken", 1000, 570, 1)},
		failing: `{"incidents":[{"kind":"errors","host":"h","method":"GET","path":"/broken","share":0.57},{"kind":"slow","host":"h","method":"GET","path":"/usual"}]}`,
	}
	s := newScreen(t, a)
	s.Update(tea.WindowSizeMsg{Width: 140, Height: 20})
	inRed := func(part string) bool {
		lines := strings.Split(s.View().Content, "\n")
		i := slices.IndexFunc(lines, func(line string) bool {
			return strings.Contains(ansi.Strip(line), part) && !strings.Contains(line, "FAILING") && !strings.Contains(line, "SLOW")
		})
		return i >= 0 && strings.Contains(lines[i], "\x1b[31m")
	}
	inTotals := func() bool { return strings.Contains(s.View().Content, "\x1b[31m10.0% errors") }
	if !inRed("/broken") || !inTotals() || inRed("/usual") {
		t.Errorf("%q", s.View().Content)
	}
	a.failing = ""
	if s.Update(s.load()()); inRed("/broken") || inTotals() {
		t.Errorf("nothing is failing: %q", s.View().Content)
	}
}

// In a pipe no path is cut off, and a narrow screen is ordered by columns that it shows.
func TestTopOnceShowsWholePaths(t *testing.T) {
	long := "/" + strings.Repeat("long/", 40)
	a := &table{rows: []string{row1(long, 10, 0, 1), row1("/a", 5, 0, 1)}}
	var once bytes.Buffer
	if err := TopOnce(t.Context(), TopOptions{Ask: a}, &once); err != nil || !strings.Contains(once.String(), long+"  h ") {
		t.Errorf("%v\n%s", err, once.String())
	}
	s := newScreen(t, a)
	s.Update(tea.WindowSizeMsg{Width: 70, Height: 20})
	for range 10 {
		if s.press("s"); tableColumns[s.sort].wide {
			t.Errorf("ordered by %s, which is not shown", tableColumns[s.sort].name)
		}
	}
}

func row1(path string, count, errors, p99 int) string {
	return fmt.Sprintf(`{"host":"h","method":"GET","path":%q,"count":%d,"errors":%d,"latency_us":{"p99":%d}}`, path, count, errors, p99)
}

// screen operates a model without a terminal.
type screen struct {
	*model
	t *testing.T
}

func newScreen(t *testing.T, ask Asker) *screen {
	t.Helper()
	m, err := newModel(t.Context(), TopOptions{Ask: ask, Address: "here"})
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{m, t}
	s.Update(m.load()())
	return s
}

func (s *screen) press(keys ...string) {
	for _, key := range keys {
		msg := tea.KeyPressMsg{Text: key, Code: []rune(key)[0]}
		switch key {
		case "enter":
			msg = tea.KeyPressMsg{Code: tea.KeyEnter}
		case "esc":
			msg = tea.KeyPressMsg{Code: tea.KeyEscape}
		}
		_, cmd := s.Update(msg)
		if cmd != nil {
			s.Update(cmd())
		}
	}
}

func (s *screen) order() string {
	var names []string
	for _, r := range s.rows {
		names = append(names, r.Path)
	}
	return strings.Join(names, " ")
}

func (s *screen) text() string {
	view := s.View().Content
	for _, line := range strings.Split(view, "\n") {
		if w := ansi.StringWidth(line); w != s.width {
			s.t.Errorf("a line of %d cells on a screen of %d: %q", w, s.width, line)
		}
	}
	if n := strings.Count(view, "\n") + 1; n != s.height {
		s.t.Errorf("%d lines on a screen of %d", n, s.height)
	}
	return ansi.Strip(view)
}

func TestTopOrdersFiltersAndOpens(t *testing.T) {
	s := newScreen(t, &table{rows: []string{row1("/a", 10, 0, 500), row1("/b", 15, 3, 100), row1("/c", 5, 0, 900)}})
	if s.order() != "/b /a /c" {
		t.Errorf("by requests: %s", s.order())
	}
	s.press("s", "s", "s", "s")
	if s.order() != "/c /a /b" {
		t.Errorf("by p99: %s", s.order())
	}
	s.press("r")
	if s.order() != "/b /a /c" {
		t.Errorf("the other way round: %s", s.order())
	}
	s.press("/", "B", "enter")
	if s.order() != "/b" || !strings.Contains(s.text(), "filter: B") {
		t.Errorf("filtered: %s\n%s", s.order(), s.text())
	}
	s.press("enter")
	if text := s.text(); !strings.Contains(text, "GET /b") || !strings.Contains(text, "503 1") {
		t.Errorf("the path:\n%s", text)
	}
	s.press("esc", "esc")
	if s.order() != "/b /a /c" || s.inside {
		t.Errorf("back again: %s", s.order())
	}
}

// TestTopShowsTheRateNow checks the current rates in the totals and in a row.
func TestTopShowsTheRateNow(t *testing.T) {
	text := newScreen(t, &table{rows: []string{row1("/b", 10, 0, 1)}}).text()
	if !strings.Contains(text, "7.50/s now") || !strings.Contains(text, "6.25/s") {
		t.Error(text)
	}
}

func TestTopKeepsTheSelectionOnItsPath(t *testing.T) {
	source := &table{rows: []string{row1("/a", 10, 0, 1), row1("/b", 9, 0, 1), row1("/c", 8, 0, 1)}}
	s := newScreen(t, source)
	s.press("j")
	source.rows[1] = row1("/b", 100, 0, 1)
	s.Update(s.load()())
	if s.rows[s.at].Path != "/b" || s.at != 0 {
		t.Errorf("selected %d: %s", s.at, s.rows[s.at].Path)
	}
}

func TestTopFitsAnyScreen(t *testing.T) {
	rows := []string{row1("/"+strings.Repeat("long/", 100), 7, 1, 1)}
	for _, text := range hostile {
		rows = append(rows, row1(strings.ToValidUTF8(text, "?"), 5, 0, 1))
	}
	s := newScreen(t, &table{rows: rows})
	for _, size := range [][2]int{{200, 50}, {90, 24}, {80, 24}, {60, 10}, {40, 6}} {
		s.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		s.text()
		s.press("enter")
		s.text()
		s.press("esc", "?")
		s.text()
		s.press("?")
	}
}

func TestTopShowsDroppedResponses(t *testing.T) {
	if text := newScreen(t, &table{rows: []string{row1("/a", 10, 0, 1)}}).text(); !strings.Contains(text, "1,234 not recorded") {
		t.Error(text)
	}
}

func TestTopShowsFailures(t *testing.T) {
	source := &table{rows: []string{row1("/a", 10, 0, 1)}}
	s := newScreen(t, source)
	source.fail = errors.New("connection refused")
	s.Update(s.load()())
	if text := s.text(); !strings.Contains(text, "connection refused") || !strings.Contains(text, "/a") {
		t.Errorf("the last answer should stay:\n%s", text)
	}
}

// TestWindowsAreAsLongAsTheirNames: with the current minute or hour, the range of a window has exactly the length that its name says.
func TestWindowsAreAsLongAsTheirNames(t *testing.T) {
	for _, name := range WindowNames() {
		named, _ := timeparse.Length(name)
		before, ok := timeparse.Length(strings.TrimPrefix(WindowFrom(name), "-"))
		current := time.Minute
		if named > 48*time.Hour { // minutes are kept for two days
			current = time.Hour
		}
		if !ok || before+current != named {
			t.Errorf("%s begins at %s", name, WindowFrom(name))
		}
	}
	if from := WindowFrom("2h"); from != "" {
		t.Errorf("an unknown window begins at %s", from)
	}
}
