package difftest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/test/h2peer"
	"github.com/wayside-proxy/wayside/test/httpcorpus"
)

// TestHTTP2Smuggling sends the corpus of HTTP/2 requests through wayside to four origins that speak HTTP/1.1. They must agree on the number
// and the bodies of the requests, and no request may be the smuggled one.
func TestHTTP2Smuggling(t *testing.T) {
	origins := []origin{goOrigin(t, "net/http"), behind(t, "nginx", nginx), behind(t, "haproxy", haproxy), node(t)}
	corpus := httpcorpus.HTTP2Requests()
	believed := make([][][]request, len(origins))
	t.Run("send", func(t *testing.T) {
		for i, o := range origins {
			believed[i] = make([][]request, len(corpus))
			t.Run(o.name, func(t *testing.T) {
				t.Parallel()
				addr, books := wayside(t, o.addr)
				c := &h2Client{t: t, addr: addr}
				for k, r := range corpus {
					believed[i][k] = c.smuggle(o, k, r)
				}
				if c.conn != nil {
					c.conn.Close()
				}
				books.await(t, int64(2*len(corpus)))
			})
		}
	})
	hostile, served := 0, 0
	for k, r := range corpus {
		want := 0
		if r.Status == 0 {
			want = 1
			served++
		} else {
			hostile++
		}
		for i, o := range origins {
			got := believed[i][k]
			if r.Status == httpcorpus.WithoutData && len(got) == 1 && got[0].Body == "" {
				continue
			}
			if len(got) != want || r.Status == 0 && !slices.Equal(got, believed[0][k]) {
				t.Errorf("%s: %q: %s believes %q, %s %q", r.Name, r.Fields, o.name, got, origins[0].name, believed[0][k])
			}
		}
		if r.Status == 0 && len(believed[0][k]) == 1 && believed[0][k][0].Body != r.Body {
			t.Errorf("%s: the body arrived as %q", r.Name, believed[0][k][0].Body)
		}
	}
	if hostile < 80 {
		t.Errorf("only %d hostile requests", hostile)
	}
	if t.Failed() {
		return
	}
	t.Logf("%d hostile and %d odd requests, %d origins agree, 0 canaries crossed", hostile, served, len(origins))
}

// await waits until a number of responses were recorded: the record of a stream that was reset can come after the reset.
func (c *counter) await(t *testing.T, want int64) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); c.n.Load() < want && time.Now().Before(limit); {
		time.Sleep(time.Millisecond)
	}
	if got := c.n.Load(); got != want {
		t.Errorf("%d responses recorded, want %d", got, want)
	}
}

// h2Client is a client with one connection at a time.
type h2Client struct {
	t    *testing.T
	addr string
	conn *h2peer.Conn
}

func toFields(pairs [][2]string) []hpack.HeaderField {
	var list []hpack.HeaderField
	for _, p := range pairs {
		list = append(list, hpack.HeaderField{Name: p[0], Value: p[1]})
	}
	return list
}

// send sends a request, on a new connection if the last one has ended, and returns the response.
func (c *h2Client) send(r httpcorpus.HTTP2Request) (h2peer.Response, error) {
	for range 2 {
		if c.conn == nil {
			var err error
			if c.conn, err = h2peer.Dial(c.t.Context(), c.addr, h2peer.Options{Timeout: 30 * time.Second}); err != nil {
				c.t.Fatal(err)
			}
		}
		s, err := c.conn.Open(toFields(r.Fields), r.Body == "" && r.Trailers == nil)
		if err != nil {
			c.conn.Close()
			c.conn = nil
			continue
		}
		if r.Body != "" {
			_ = s.Send(r.Body, r.Trailers == nil) // the response says why it failed
		}
		if r.Trailers != nil {
			s.Headers(toFields(r.Trailers), true)
		}
		return s.Response()
	}
	c.t.Fatal("no connection accepts streams")
	return h2peer.Response{}, nil
}

// smuggle sends one request from the corpus and then another request. It returns the requests that the origin has read from the first one.
func (c *h2Client) smuggle(o origin, k int, r httpcorpus.HTTP2Request) []request {
	t := c.t
	resp, err := c.send(r)
	status := resp.Status
	if status == 0 && err != nil {
		status = httpcorpus.Reset
	}
	want := r.Status
	switch {
	case want == httpcorpus.WithoutData && status == httpcorpus.Reset, status == 200 && (want == 0 || want == httpcorpus.WithoutData):
	case status != want:
		t.Errorf("%s to %s: %q, body %q, trailers %q: status %d, want %d (%v)", r.Name, o.name, r.Fields, r.Body, r.Trailers, status, want, err)
	}
	if strings.Contains(resp.Body, httpcorpus.Canary) {
		t.Errorf("%s to %s: CANARY in the response %q", r.Name, o.name, resp.Body)
	}
	next := fmt.Sprintf("/next/%d", k)
	resp, err = c.send(httpcorpus.HTTP2Request{Fields: [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", next}}})
	if err != nil || resp.Status != 200 || resp.Body != next {
		t.Errorf("%s to %s: the next request got %d %q, %v", r.Name, o.name, resp.Status, resp.Body, err)
	}
	return o.withoutNext(t, next, r.Name, r.Fields)
}

// TestHTTP2ResponseSmuggling lets an origin that speaks HTTP/2 respond to every second request with a hostile response, no part of which may
// reach another client. The clients speak HTTP/1.1, in which the injected bytes would have a meaning.
func TestHTTP2ResponseSmuggling(t *testing.T) {
	corpus := httpcorpus.HTTP2Responses()
	origin, err := h2peer.Serve(h2peer.Options{}, nil, func(s *h2peer.Stream, fields []hpack.HeaderField) {
		var k int
		target := h2peer.Value(fields, ":path")
		if _, err := fmt.Sscanf(target, "/evil/%d", &k); err != nil {
			s.Headers(h2peer.Fields(":status", "200"), false)
			_ = s.Send(target, true)
			return
		}
		r := corpus[k]
		s.Headers(toFields(r.Fields), r.Body == "" && r.Trailers == nil)
		if r.Body != "" {
			_ = s.Send(r.Body, r.Trailers == nil)
		}
		if r.Trailers != nil {
			s.Headers(toFields(r.Trailers), true)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(origin.Stop)
	addr, books := waysideFor(t, origin.URL())
	for k, c := range corpus {
		answer, _ := converse(t, addr, fmt.Sprintf("POST /evil/%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", k))
		status, ended := strings.HasPrefix(answer, "HTTP/1.1 200 "), strings.HasSuffix(answer, "\r\n0\r\n\r\n")
		if c.Late != status || ended || !c.Late && !strings.HasPrefix(answer, "HTTP/1.1 502 ") {
			t.Errorf("%s: %q: %.300q", c.Name, c.Fields, answer)
		}
		next := fmt.Sprintf("/next/%d", k)
		after, _ := converse(t, addr, "GET "+next+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.Contains(after, next) || strings.Contains(answer+after, httpcorpus.Canary) {
			t.Errorf("%s: %q: %.300q, then %q", c.Name, c.Fields, answer, after)
		}
	}
	books.await(t, int64(2*len(corpus)))
	t.Logf("%d hostile responses", len(corpus))
}
