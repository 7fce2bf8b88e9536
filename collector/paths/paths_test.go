package paths

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

func newLabeler(t testing.TB, o Options) *Labeler {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func label(l *Labeler, path string, status uint16) string {
	_, _, got := rowOf(l, []byte("example.com"), []byte("GET"), []byte(path), status)
	return got
}

func TestTemplates(t *testing.T) {
	tests := map[string]string{
		"":                      Malformed,
		"?x":                    "/",
		"/":                     "/",
		"*":                     "*",
		"/about":                "/about",
		"/about/":               "/about/",
		"//a///b":               "//a///b",
		"/users/123":            "/users/{id}",
		"/users/123/":           "/users/{id}/",
		"/users/-5/orders/7.50": "/users/{id}/orders/{id}",
		"/v1/users":             "/v1/users",
		"/api/v2/items/9":       "/api/v2/items/{id}",
		"/o/123e4567-e89b-12d3-a456-426614174000":                 "/o/{id}",
		"/o/123E4567-E89B-12D3-A456-426614174000/x":               "/o/{id}/x",
		"/o/01ARZ3NDEKTSV4RRFFQ69G5FAV":                           "/o/{id}",
		"/commit/9f3c2a1b":                                        "/commit/{id}",
		"/commit/deadbeef":                                        "/commit/deadbeef",
		"/commit/9f3c2a1":                                         "/commit/9f3c2a1",
		"/blob/0x9f3c2a1b77":                                      "/blob/{id}",
		"/hash/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca": "/hash/{id}",
		"/day/2026-11-23":                                         "/day/{id}",
		"/at/2026-11-23T09:30:00Z":                                "/at/{id}",
		"/release/1.2.3":                                          "/release/{id}",
		"/t/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N": "/t/{id}",
		"/c/cus_9s6XKzkNRiz8i3":                  "/c/{id}",
		"/posts/how-to-2024-edition-part-2":      "/posts/how-to-2024-edition-part-2",
		"/img/9f3c2a1b00.png":                    "/img/{id}.png",
		"/img/123.tar":                           "/img/{id}.tar",
		"/jquery-3.min.js":                       "/jquery-3.min.js",
		"/a;jsessionid=SECRET/b":                 "/a;{id}/b",
		"/search?q=secret":                       "/search",
		"/a#b":                                   "/a",
		"/caf\xc3\xa9":                           "/café",
		"/bad\xff\x00\x1f":                       "/bad%FF%00%1F",
		"/bidi\u202eevil\u2028":                  "/bidi%E2%80%AEevil%E2%80%A8",
		"/{id}":                                  "/%7Bid%7D",
		"(other)":                                "%28other)",
		"(malformed)":                            "%28malformed)",
		"/hello%20world%20foo%20bar%20baz":       "/hello%20world%20foo%20bar%20baz",
		"/" + strings.Repeat("xo-", 100):         Other,
		"/" + strings.Repeat("xo-", 85):          "/" + strings.Repeat("xo-", 85),
		"/" + strings.Repeat("1", 2000):          "/{id}",
		"/" + strings.Repeat("12/", 682):         Other,
		"/wp-content/plugins/akismet/readme.txt": "/wp-content/plugins/akismet/readme.txt",
	}
	l := newLabeler(t, Options{})
	for path, want := range tests {
		if got := label(l, path, 200); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
		if got := label(l, path, 200); got != want {
			t.Errorf("%q the second time: got %q, want %q", path, got, want)
		}
	}
}

func TestConfiguredTemplates(t *testing.T) {
	l := newLabeler(t, Options{Templates: []string{
		"/users/{name}", "/users/{name}/posts", "/static/**", "/files/*.txt", "/*/raw/**/end", "/exact", "/trail/",
	}})
	tests := map[string]string{
		"/users/anna":         "/users/{name}",
		"/users/":             "/users/",
		"/users/anna/":        "/users/anna/",
		"/users/anna/posts":   "/users/{name}/posts",
		"/static":             "/static/**",
		"/static/":            "/static/**",
		"/static/a/b.css":     "/static/**",
		"/staticky":           "/staticky",
		"/files/a.txt":        "/files/*.txt",
		"/files/a.txt.gz":     "/files/a.txt.gz",
		"/x/raw/end":          "/*/raw/**/end",
		"/x/raw/1/2/end":      "/*/raw/**/end",
		"/x/raw/end/end":      "/*/raw/**/end",
		"/x/raw/end/y/end":    "/*/raw/**/end",
		"/x/raw/end/y":        "/x/raw/end/y",
		"//raw/end":           "//raw/end",
		"/exact":              "/exact",
		"/trail/":             "/trail/",
		"/trail":              "/trail",
		"/users/anna?x=posts": "/users/{name}",
	}
	for path, want := range tests {
		if got := label(l, path, 200); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
	for _, bad := range []string{"", "users", "/a{b}", "/{}", "/{a}{b}", "/a**", "/" + strings.Repeat("a", 256), "/a?b"} {
		if CheckTemplate(bad) == nil {
			t.Errorf("template %q was accepted", bad)
		}
		if _, err := New(Options{Templates: []string{bad}}); err == nil {
			t.Errorf("New accepted template %q", bad)
		}
	}
}

func TestMethodsAndHosts(t *testing.T) {
	l := newLabeler(t, Options{HostsMax: 4})
	get := func(host, method string, status uint16) string {
		h, m, _ := rowOf(l, []byte(host), []byte(method), []byte("/"), status)
		return h + " " + m
	}
	tests := []struct {
		host, method string
		status       uint16
		want         string
	}{
		{"A.Example", "GET", 200, "a.example GET"},
		{"a.example.", "BREW", 200, "a.example (other)"},
		{"noise1", "GET", 404, "noise1 GET"},
		{"noise2", "GET", 404, "(other) GET"}, // half of the hosts are in use
		{"b.example", "PROPFIND", 200, "b.example PROPFIND"},
		{"noise2", "GET", 200, "noise2 GET"},
		{"late", "get", 200, "(other) (other)"},
		{strings.Repeat("h", 256), "GET", 200, "(other) GET"},
		{"", "GET", 200, "(other) GET"},
		{"a.example", "GET", 500, "a.example GET"},
	}
	for _, test := range tests {
		if got := get(test.host, test.method, test.status); got != test.want {
			t.Errorf("%s %s %d: got %q, want %q", test.host, test.method, test.status, got, test.want)
		}
	}
}

// Routes that arrive after a flood of scanner noise still get rows, and the number of rows stays below the limit.
func TestScannerNoiseCannotTakeTheTable(t *testing.T) {
	const limit, routes = 100, 90
	l := newLabeler(t, Options{Max: limit})
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	for range 20_000 {
		path := "/" + word(random, 12) + "/" + word(random, 6)
		seen[label(l, path, 404)] = true
	}
	for i := range routes {
		path := fmt.Sprintf("/route-%c/to-%c", 'a'+i/26, 'a'+i%26)
		if got := label(l, path, 200); got != path {
			t.Errorf("route %d is counted as %q", i, got)
		}
		seen[path] = true
	}
	if got := label(l, "/one/more", 200); got != Other {
		t.Errorf("with a full table: %q", got)
	}
	if len(seen) > limit+1 { // (other) is not counted
		t.Errorf("%d rows, at most %d", len(seen), limit+1)
	}
	if u := l.Usage(); u.Rows != limit || u.RowsMax != limit {
		t.Errorf("usage %+v", u)
	}
}

// Requests without a path have one row, which takes up no room. The row is the same after a restart, and after a
// rebuild from an archive.
func TestRequestsWithoutAPath(t *testing.T) {
	l := newLabeler(t, Options{Max: 1, HostsMax: 1})
	l.Begin()
	for i := range 100 {
		h, m, p := rowOf(l, fmt.Appendf(nil, "h%d", i), []byte("GET"), nil, uint16(200+i%4*100))
		if h != Other || m != Other || p != Malformed {
			t.Fatalf("%s %s %s", h, m, p)
		}
	}
	if u := l.Usage(); u.Rows != 0 || u.Hosts != 0 || u.Labels != 0 {
		t.Errorf("%+v", u)
	}
	changes := l.Changes()
	l.Commit()
	again := restored(t, Options{Max: 1, HostsMax: 1}, changes)
	again.Begin()
	again.Known(catalogue.RowName{Host: Other, Method: Other, Label: Malformed}, 70, false)
	again.Relearn()
	for _, l := range []*Labeler{l, again} {
		if h, m, p := rowOf(l, nil, nil, nil, 400); h != Other || m != Other || p != Malformed {
			t.Errorf("%s %s %s", h, m, p)
		}
		if got := label(l, "/", 200); got != "/" {
			t.Errorf("the only label was taken: %s", got)
		}
	}
	if n := again.Forget(&Selection{Path: "*malformed*"}); n != 0 {
		t.Errorf("%d rows forgotten", n)
	}
	if (&Selection{Path: "*malformed*"}).Rows(nil)(Other, Other, Malformed) {
		t.Error("the row can be forgotten")
	}
}

func TestOverflowRowsAreBounded(t *testing.T) {
	l := newLabeler(t, Options{Max: 1, HostsMax: 1000})
	label(l, "/first", 200)
	rows := map[[3]string]bool{}
	for i := range 500 {
		h, m, p := rowOf(l, fmt.Appendf(nil, "h%d", i), []byte("GET"), []byte("/x"), 200)
		if p != Other {
			t.Fatalf("row %d got label %q", i, p)
		}
		rows[[3]string{h, m, p}] = true
	}
	if len(rows) != 11 { // ten with their own host, one for all others
		t.Errorf("%d (other) rows", len(rows))
	}
}

func word(random *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(random.IntN(26))
	}
	return string(b)
}

func restored(t testing.TB, o Options, changes []Change) *Labeler {
	t.Helper()
	l := newLabeler(t, o)
	for _, c := range changes {
		if err := l.Restore(c.Key, c.Value); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestStateSurvivesAndRollsBack(t *testing.T) {
	o := Options{Max: 3, HostsMax: 2}
	l := newLabeler(t, o)
	var saved []Change
	l.Begin()
	label(l, "/a", 200)
	saved = append(saved, l.Changes()...)
	l.Commit()
	if len(saved) != 3 { // a host, a row and the tally
		t.Fatalf("%d changes", len(saved))
	}

	l.Begin()
	label(l, "/b", 200)
	first := l.Changes()
	l.Rollback()
	if got := l.Changes(); len(got) != 0 {
		t.Errorf("after rollback: %v", got)
	}
	l.Begin()
	if got := label(l, "/b", 200); got != "/b" {
		t.Errorf("after rollback: %q", got)
	}
	if diff := cmp.Diff(first, l.Changes()); diff != "" {
		t.Errorf("the repeated batch learnt something else (-first +second):\n%s", diff)
	}
	saved = append(saved, l.Changes()...)
	l.Commit()

	// The rest of the traffic gets the same labels from a restored labeler, whatever the order of its entries.
	saved[0], saved[len(saved)-1] = saved[len(saved)-1], saved[0]
	again := restored(t, o, saved)
	for _, path := range []string{"/c", "/a", "/d", "/b", "/e/1"} {
		if want, got := label(l, path, 200), label(again, path, 200); got != want {
			t.Errorf("%q: %q before the restart, %q after", path, want, got)
		}
	}
	if l.Usage() != again.Usage() {
		t.Errorf("usage %+v, after restart %+v", l.Usage(), again.Usage())
	}

	smaller := restored(t, Options{Max: 1}, saved)
	if label(smaller, "/a", 200) != "/a" || label(smaller, "/b", 200) != "/b" || label(smaller, "/z", 200) != Other {
		t.Error("rows admitted under a higher limit must stay, and no new ones join them")
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	l := newLabeler(t, Options{})
	l.Begin()
	label(l, "/a", 200)
	for _, c := range l.Changes() {
		for cut := range c.Value {
			if newLabeler(t, Options{}).Restore(c.Key, c.Value[:cut]) == nil {
				t.Errorf("value %x cut at %d was accepted", c.Value, cut)
			}
		}
		if newLabeler(t, Options{}).Restore([]byte("x1234"), c.Value) == nil {
			t.Error("unknown kind was accepted")
		}
	}
}

// The result depends only on the order of events: not on the size of batches, on rollbacks or on restarts. Counts are conserved,
// because every event gets exactly one row.
func TestReplayProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Max: rapid.IntRange(1, 6).Draw(t, "max"), HostsMax: rapid.IntRange(1, 3).Draw(t, "hosts")}
		type seen struct {
			Host, Method, Path string
			Status             uint16
		}
		events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) seen {
			return seen{
				rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(t, "host"),
				rapid.SampledFrom([]string{"GET", "POST", "X"}).Draw(t, "method"),
				rapid.SampledFrom([]string{"/", "/a", "/b", "/c/1", "/c/2", "/d", "/e", "/f"}).Draw(t, "path"),
				rapid.SampledFrom([]uint16{200, 404, 502, 500}).Draw(t, "status"),
			}
		}), 0, 60).Draw(t, "events")
		run := func(l *Labeler, s seen) [3]string {
			h, m, p := rowOf(l, []byte(s.Host), []byte(s.Method), []byte(s.Path), s.Status)
			return [3]string{h, m, p}
		}
		plain, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		var want, got [][3]string
		for _, s := range events {
			want = append(want, run(plain, s))
		}
		tried, _ := New(o)
		var saved []Change
		for rest := events; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "batch")
			if rapid.Bool().Draw(t, "fails first") {
				tried.Begin()
				for _, s := range rest[:n] {
					run(tried, s)
				}
				tried.Rollback()
			}
			tried.Begin()
			for _, s := range rest[:n] {
				got = append(got, run(tried, s))
			}
			saved = append(saved, tried.Changes()...)
			tried.Commit()
			rest = rest[n:]
			if rapid.Bool().Draw(t, "restart") {
				tried, _ = New(o)
				for _, c := range saved {
					if err := tried.Restore(c.Key, c.Value); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("labels depend on batches or restarts (-plain +tried):\n%s", diff)
		}
	})
}

func TestKnownPathsDoNotAllocate(t *testing.T) {
	l := newLabeler(t, Options{Max: 10})
	host, method := []byte("example.com"), []byte("GET")
	paths := [][]byte{
		[]byte("/"), []byte("/users/123/orders/9f3c2a1b"), bytes.Repeat([]byte("/long/1"), 30), []byte("/nope"),
	}
	for i := range 20 {
		rowOf(l, host, method, fmt.Appendf(nil, "/fill/%c", 'a'+i), 200)
	}
	for i := range 4 * evaluateMax { // evaluating the rows allocates memory, but becomes rare
		rowOf(l, host, method, paths[i%4], 200)
	}
	for _, path := range paths {
		rowOf(l, host, method, path, 200)
		if n := testing.AllocsPerRun(100, func() { rowOf(l, host, method, path, 404) }); n != 0 {
			t.Errorf("%.20q: %v allocations", path, n)
		}
	}
}
