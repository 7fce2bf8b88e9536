package paths

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// rowOf labels an ordinary request.
func rowOf(l *Labeler, host, method, path []byte, status uint16) (h, m, label string) {
	row := l.Label(&event.Event{Kind: event.KindRequest, Host: host, Method: method, Path: path, Status: status})
	return row.Host, row.Method, row.Label
}

func call(path string, code int) *event.Event {
	return &event.Event{
		Kind: event.KindRequest, Host: []byte("api"), Method: []byte("POST"), Path: []byte(path), Status: 200, GRPCStatus: event.GRPCOf(code),
	}
}

func get(path, route string) *event.Event {
	return &event.Event{
		Kind: event.KindRequest, Host: []byte("api"), Method: []byte("GET"), Path: []byte(path), Status: 200, Route: []byte(route),
	}
}

// store keeps what a labeler wants to have stored, and restores another labeler from it.
type store map[string][]byte

func (s store) keep(l *Labeler) {
	for _, c := range l.Changes() {
		if c.Value == nil {
			delete(s, string(c.Key))
			continue
		}
		s[string(c.Key)] = bytes.Clone(c.Value)
	}
	l.Commit()
}

func (s store) labeler(t *testing.T) *Labeler {
	t.Helper()
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range s {
		if err := l.Restore([]byte(key), value); err != nil {
			t.Fatal(err)
		}
	}
	l.Begin()
	return l
}

// TestGRPCMethods: next to a root level that varies, and below a service whose methods look like values, the paths of
// gRPC methods stay as they are: when they are counted, when they are shown, and after a restart.
func TestGRPCMethods(t *testing.T) {
	kept := store{}
	l := kept.labeler(t)
	methods := []string{"/shop.v1.Cart/AddItem", "/grpc.health.v1.Health/Check", "/Greeter/SayHello", "/shop.v1.Cart/0123456789abcdef0123456789abcdef"}
	for i := range 3000 {
		l.Label(get(fmt.Sprintf("/user-%c%d/posts", 'a'+i%26, i), ""))
		l.Label(get(fmt.Sprintf("/shop.v1.Cart/slug-%d", i), ""))
		for _, m := range append(methods, fmt.Sprintf("/shop.v1.Orders/Method%d", i%200)) {
			if row := l.Label(call(m, 0)); row.Label != m {
				t.Fatalf("%s is counted as %s", m, row.Label)
			}
		}
	}
	shown := func(l *Labeler) {
		t.Helper()
		for _, path := range []string{"/user-x1/posts", "/shop.v1.Cart/slug-1"} {
			if got := l.Rules().Label("api", path); got == path {
				t.Errorf("%s is not merged: the test does not test anything", path)
			}
		}
		for i := range 200 {
			for _, m := range append(methods, fmt.Sprintf("/shop.v1.Orders/Method%d", i)) {
				if got := l.Rules().Label("api", m); got != m {
					t.Fatalf("%s is shown as %s", m, got)
				}
			}
		}
	}
	shown(l)
	kept.keep(l)
	shown(kept.labeler(t))
}

// TestGRPCAfterHTTP: a row of an ordinary path becomes that of a gRPC method, and an ordinary one again if the batch is
// undone.
func TestGRPCAfterHTTP(t *testing.T) {
	l := store{}.labeler(t)
	post := get("/a.B/Call", "")
	post.Method = []byte("POST")
	l.Label(post)
	l.Commit()
	for range 2 {
		l.Label(call("/a.B/Call", 0))
		if _, exact := l.exact.Load(mergedKey("api", "/a.B/Call")); !exact || l.Usage().Labels != 1 {
			t.Errorf("exact %t, %d labels", exact, l.Usage().Labels)
		}
		l.Rollback()
		if _, exact := l.exact.Load(mergedKey("api", "/a.B/Call")); exact {
			t.Error("the undone batch is remembered")
		}
	}
}

// TestUnknownMethodsTakeNoRoom: a server answers UNIMPLEMENTED for methods that it does not have, with HTTP status 200.
func TestUnknownMethodsTakeNoRoom(t *testing.T) {
	l := store{}.labeler(t)
	for i := range 5000 {
		l.Label(call(fmt.Sprintf("/x%d.Service/Scan", i), 12))
	}
	if u := l.Usage(); u.Rows > DefaultMax/10 {
		t.Errorf("%d rows of methods that do not exist", u.Rows)
	}
	if row := l.Label(call("/shop.Cart/Add", 0)); row.Label != "/shop.Cart/Add" {
		t.Errorf("a real method is counted as %s", row.Label)
	}
}

// TestRoutes: a route is part of a row's name; the number of rows of many routes is bounded; learned levels merge only
// rows of the same route.
func TestRoutes(t *testing.T) {
	kept := store{}
	l := kept.labeler(t)
	for i := range 3000 {
		path := func(n int) string { return fmt.Sprintf("/u/user-%c%d/posts", 'a'+i%26, 3*i+n) }
		a, b, none := l.Label(get(path(0), "web")), l.Label(get(path(1), "beta")), l.Label(get(path(2), ""))
		if a.Route != "web" || b.Route != "beta" || none.Route != "" {
			t.Fatalf("%v, %v, %v", a, b, none)
		}
	}
	if got := l.Label(get("/u/someone/posts", "web")); got != (catalogue.RowName{Host: "api", Method: "GET", Label: "/u/{id}/posts", Route: "web"}) {
		t.Errorf("%+v", got)
	}
	kept.keep(l)
	again := kept.labeler(t)
	if a, b := l.Usage(), again.Usage(); a != b {
		t.Errorf("%+v, after a restart %+v", a, b)
	}
	for i := range 10_000 {
		l.Label(get("/u/x/posts", fmt.Sprintf("route-%d", i)))
	}
	if n := l.Usage().Labels; n > 4*DefaultMax {
		t.Errorf("%d rows", n)
	}
	if got := l.Label(get("/u/x/posts", "one-more")); got.Label != Other || got.Route != Other {
		t.Errorf("beyond the limit: %+v", got)
	}
	if got := l.Label(get("/u/x/posts", "")); got.Route != "" || got.Label != "/u/{id}/posts" {
		t.Errorf("without a route: %+v", got)
	}
}

func TestProofs(t *testing.T) {
	var grpc, http stats.Row
	for _, code := range []int{0, 0, 5, 12, 14, 16} {
		grpc.Add(call("/a/B", code))
	}
	for _, status := range []uint16{200, 404, 500, 503} {
		http.Add(&event.Event{Kind: event.KindRequest, Status: status})
	}
	if Proofs(&grpc) != 3 || Proofs(&http) != 2 {
		t.Errorf("%d and %d", Proofs(&grpc), Proofs(&http))
	}
}
