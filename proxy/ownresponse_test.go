package proxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOwnResponses checks redirects and fixed responses, including those to HEAD and to requests whose body is still on its way, and what is recorded.
func TestOwnResponses(t *testing.T) {
	large := strings.Repeat("maintenance ", 50_000)
	b := start(t, deadAddr(t), func(o *Options) {
		path := func(p string) RouteConditions { return RouteConditions{Path: p} }
		o.ResponseFields = FieldRules{Set: []string{"X-All: 1"}, Add: []string{"X-Which: all"}}
		o.Routes = []Route{
			{Name: "old", Conditions: RouteConditions{Host: "old.example"}, Redirect: "https://new.example"},
			{Name: "moved", Conditions: path("/moved/*"), Redirect: "/new/place"},
			{Name: "exact", Conditions: path("/exact"), Redirect: "https://new.example/?x=1"},
			{Name: "docs", Conditions: path("/docs/*"), Redirect: "https://docs.example", StripPrefix: "/docs"},
			{
				Name: "closed", Conditions: path("/closed"), Respond: &RouteResponse{503, "text/html", []byte("<p>later")},
				ResponseFields: FieldRules{Set: []string{"Retry-After: 60", "X-Which: own"}},
			},
			{Name: "large", Conditions: path("/large"), Respond: &RouteResponse{200, "", []byte(large)}},
			{Name: "empty", Conditions: path("/empty"), Respond: &RouteResponse{Status: 204, Body: []byte("no")}},
		}
	})
	c := b.dial()
	for i, tt := range []struct {
		method, target, host   string
		status                 int
		location, body, route  string
		length                 int64
		contentType, errorType string
	}{
		{"GET", "/a%2f?q=1&r", "old.example", 308, "https://new.example/a%2f?q=1&r", "", "old", 0, "", ""},
		{"POST", "//x", "OLD.example:80", 308, "https://new.example//x", "", "old", 0, "", ""},
		{"OPTIONS", "*", "old.example", 308, "https://new.example", "", "old", 0, "", ""},
		{"GET", "/moved/x?q", "a", 308, "/new/place?q", "", "moved", 0, "", ""},
		{"GET", "/exact?y=2", "a", 308, "https://new.example/?x=1", "", "exact", 0, "", ""},
		{"GET", "/docs", "a", 308, "https://docs.example/", "", "docs", 0, "", ""},
		{"GET", "/%64ocs/x?y", "a", 308, "https://docs.example/x?y", "", "docs", 0, "", ""},
		{"GET", "/closed", "a", 503, "", "<p>later", "closed", 8, "text/html", ""},
		{"HEAD", "/closed", "a", 503, "", "", "closed", 8, "text/html", ""},
		{"GET", "/large", "a", 200, "", large, "large", int64(len(large)), "", ""},
		{"HEAD", "/large", "a", 200, "", "", "large", int64(len(large)), "", ""},
		{"GET", "/empty", "a", 204, "", "", "empty", -1, "", ""},
		{"GET", "/nothing", "a", 404, "", "*", "", -2, "text/plain; charset=utf-8", "no_route"},
		{"HEAD", "/nothing", "a", 404, "", "", "", -2, "text/plain; charset=utf-8", "no_route"},
		{"GET", "/closed%2f..%2fclosed", "a", 400, "", "*", "", -2, "text/plain; charset=utf-8", "ambiguous_path"},
	} {
		body := "\r\n"
		if tt.method == "POST" {
			body = "Content-Length: 3\r\n\r\nabc"
		}
		c.send(tt.method + " " + tt.target + " HTTP/1.1\r\nHost: " + tt.host + "\r\n" + body)
		resp, text := c.receive(tt.method)
		if tt.body == "*" {
			text = "*"
		}
		if resp.StatusCode != tt.status || resp.Header.Get("Location") != tt.location || text != tt.body || resp.Header.Get("Content-Type") != tt.contentType ||
			resp.Close != (tt.status == 400) || resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("Date") == "" || resp.Header.Get("X-All") != "1" {
			t.Errorf("%s %s: %+v %.20q", tt.method, tt.target, resp, text)
		}
		if got := resp.Header["Content-Length"]; tt.length >= 0 && (len(got) != 1 || got[0] != fmt.Sprint(tt.length)) || tt.length == -1 && got != nil {
			t.Errorf("%s %s: Content-Length %v", tt.method, tt.target, got)
		}
		if tt.route == "closed" && !cmp.Equal(resp.Header["X-Which"], []string{"own"}) || tt.route == "large" && !cmp.Equal(resp.Header["X-Which"], []string{"all"}) {
			t.Errorf("%s: fields %v", tt.target, resp.Header["X-Which"])
		}
		e := b.books.wait(t, i+1)[i]
		if string(e.Route) != tt.route || string(e.ErrorType) != tt.errorType || len(e.Upstream) > 0 || int(e.Status) != tt.status ||
			tt.body != "*" && e.ResponseBytes != uint64(len(tt.body)) || tt.method == "POST" && e.RequestBytes != 3 {
			t.Errorf("%s %s: %+v", tt.method, tt.target, e)
		}
		b.responses = i + 1
	}
}

// TestOwnResponseBeforeBody: the proxy does not wait for a body that has not arrived.
func TestOwnResponseBeforeBody(t *testing.T) {
	b := start(t, deadAddr(t), func(o *Options) { o.Routes = []Route{marked("all", RouteConditions{})} })
	b.responses = 3
	for _, framing := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked", "Content-Length: 5\r\nExpect: 100-continue"} {
		c := b.dial()
		c.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n")
		if resp, _ := c.receive("POST"); resp.StatusCode != 204 || !resp.Close {
			t.Error(framing, resp)
		}
	}
}
