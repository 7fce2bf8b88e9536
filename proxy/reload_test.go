package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// TestReloadBetweenAndWithinRequests: if a reload changes the upstream, the old upstream completes the requests in progress. The
// client's connection stays open.
func TestReloadBetweenAndWithinRequests(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { close(release) }) })
	one := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			close(entered)
			<-release
		}
		_, _ = io.WriteString(w, "one")
	})
	two := origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "two") })
	b := start(t, one, nil)
	b.responses = 4
	kept, held := b.dial(), b.dial()
	if _, body := kept.get("/"); body != "one" {
		t.Fatal(body)
	}
	held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	o := b.p.current.Load().o
	o.Upstream, o.ClientAddress = two, ClientOff
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	if resp, body := kept.get("/"); body != "two" || resp.Close {
		t.Errorf("after the reload, on the same connection: %s, close %v", body, resp.Close)
	}
	once.Do(func() { close(release) })
	if resp, body := held.receive("GET"); body != "one" || resp.StatusCode != 200 {
		t.Errorf("a request across the reload: %s %s", resp.Status, body)
	}
	if _, body := held.get("/"); body != "two" {
		t.Errorf("its connection's next request: %s", body)
	}
	events := b.books.all()
	if len(events[0].Client) == 0 || len(events[1].Client) != 0 {
		t.Errorf("client addresses: %q, %q", events[0].Client, events[1].Client)
	}
}

func TestReloadRefusesAndKeeps(t *testing.T) {
	b := start(t, origin(t, func(http.ResponseWriter, *http.Request) {}), nil)
	b.responses = 1
	o := b.p.current.Load().o
	for _, change := range []func(*Options){
		func(o *Options) { o.Upstream = "ftp://example.org" },
		func(o *Options) { o.ClientAddress = "guess" },
		func(o *Options) { o.RequestFields.Remove = []string{"Connection"} },
	} {
		bad := o
		change(&bad)
		if b.p.Reload(bad) == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

// TestReloadUnderLoad: reloads in quick succession do not break any request.
func TestReloadUnderLoad(t *testing.T) {
	const clients, each = 8, 100
	var urls []string
	for range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	b := start(t, urls[0], nil)
	b.responses = clients * each
	var wg sync.WaitGroup
	for range clients {
		c := b.dial()
		wg.Go(func() {
			for range each {
				if resp, body := c.get("/x"); resp.StatusCode != 200 || body != "/x" || resp.Close {
					t.Error(resp.Status, body)
				}
			}
		})
	}
	o, done := b.p.current.Load().o, make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for n := 1; ; n++ {
		select {
		case <-done:
			return
		default:
		}
		o.Upstream = urls[n%2]
		if err := b.p.Reload(o); err != nil {
			t.Fatal(err)
		}
	}
}
