package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// hostileRequests must never reach the origin. Each is followed on the wire by a request that would be smuggled.
var hostileRequests = map[string]string{
	"CL and TE":           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"TE and CL":           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
	"two CL":              "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	"two equal CL":        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
	"CL list":             "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na",
	"CL sign":             "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
	"CL negative":         "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na",
	"CL hex":              "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na",
	"CL empty":            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\na",
	"CL space":            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\na",
	"TE identity":         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na",
	"TE identity alone":   "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
	"TE list":             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"TE twice":            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"TE unknown":          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"TE space":            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"TE tab":              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
	"TE in 1.0":           "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"obs-fold":            "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
	"obs-fold TE":         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
	"bare LF":             "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
	"bare CR":             "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
	"NUL":                 "GET / HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n",
	"NUL in name":         "GET / HTTP/1.1\r\nHost: a\r\nX\x00: 1\r\n\r\n",
	"space in name":       "GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
	"no colon":            "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
	"empty name":          "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
	"two hosts":           "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"no host":             "GET / HTTP/1.1\r\nX: a\r\n\r\n",
	"foreign scheme":      "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"https scheme":        "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"userinfo":            "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"fragment":            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
	"version 2":           "GET / HTTP/2.0x\r\nHost: a\r\n\r\n",
	"no version":          "GET /\r\nHost: a\r\n\r\n",
	"asterisk":            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
	"relative target":     "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
	"leading space field": "GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n",
	"chunk sign":          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
	"chunk prefix":        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
	"chunk without CRLF":  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
}

func TestHostileRequests(t *testing.T) {
	var complete atomic.Int32
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			var req fasthttp.Request
			if err := req.Read(br); err != nil {
				return
			}
			complete.Add(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	for name, request := range hostileRequests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, url, nil)
			b.responses = 1
			c := b.dial()
			c.send(request + "GET /canary HTTP/1.1\r\nHost: a\r\n\r\n")
			raw, _ := io.ReadAll(c.br)
			if !bytes.HasPrefix(raw, []byte("HTTP/1.1 400 ")) || bytes.Count(raw, []byte("HTTP/1.1 ")) != 1 {
				t.Errorf("%q", raw)
			}
			e := b.books.wait(t, 1)[0]
			if e.Status != 400 || string(e.ErrorType) != "bad_request" || bytes.Contains(e.Path, []byte("p@")) {
				t.Errorf("%+v", e)
			}
			if n := complete.Load(); n != 0 {
				t.Errorf("%d requests reached the origin", n)
			}
			if log := b.logged(); strings.Contains(log, "canary") {
				t.Errorf("request bytes in the log: %s", log)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	b := start(t, origin(t, nil), func(o *Options) { o.MaxHeaderBytes = 4096 })
	b.responses = 5
	c := b.dial()
	c.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
	if resp, _ := c.receive("POST"); resp.StatusCode != 501 || !resp.Close {
		t.Error(resp)
	}
	b.expect(0, 501, "not_implemented")
	c = b.dial()
	c.send("GET /" + strings.Repeat("a", 4200) + " HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, _ := c.receive("GET"); resp.StatusCode != 414 {
		t.Error(resp)
	}
	b.expect(1, 414, "uri_too_long")
	c = b.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 4200) + "\r\n\r\n")
	if resp, _ := c.receive("GET"); resp.StatusCode != 431 {
		t.Error(resp)
	}
	if e := b.expect(2, 431, "header_too_large"); string(e.Path) != "/" {
		t.Errorf("%+v", e)
	}
	c = b.dial()
	c.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: something\r\nContent-Length: 1\r\n\r\n")
	if resp, _ := c.receive("GET"); resp.StatusCode != 417 || !resp.Close {
		t.Error(resp)
	}
	b.expect(3, 417, "expectation_failed")
	c = b.dial()
	c.send("GET / HTTP/2.0\r\nHost: a\r\n\r\n")
	if resp, _ := c.receive("GET"); resp.StatusCode != 505 || !resp.Close {
		t.Error(resp)
	}
	b.expect(4, 505, "unsupported_version")
}

var hostileResponses = map[string]string{
	"CL and TE":     "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two CL":        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	"CL list":       "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
	"CL sign":       "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
	"CL overflow":   "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\na",
	"TE list":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"TE identity":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
	"TE twice":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"TE in 1.0":     "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"obs-fold":      "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
	"bare LF":       "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
	"bare LF field": "HTTP/1.1 200 OK\r\nX: 1\nContent-Length: 0\r\n\r\n",
	"bare CR":       "HTTP/1.1 200 OK\r\nX: 1\rY: 2\r\nContent-Length: 0\r\n\r\n",
	"NUL":           "HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 0\r\n\r\n",
	"status 2":      "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
	"status 4":      "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
	"status 0":      "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
	"version":       "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/0.9":      "<html>hello</html>\n\n",
	"no colon":      "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
	"space in name": "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
	"NUL in reason": "HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
	"CR in reason":  "HTTP/1.1 200 O\rX: K\r\nContent-Length: 0\r\n\r\n",
}

func TestHostileResponses(t *testing.T) {
	for name, response := range hostileResponses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, canned(t, response), func(o *Options) { o.ResponseTimeout = 2 * time.Second })
			b.responses = 1
			c := b.dial()
			if resp, body := c.get("/"); resp.StatusCode != 502 || resp.Close || strings.Contains(body, "OK") {
				t.Error(resp, body)
			}
			b.expect(0, 502, "protocol_error")
			if n := b.p.Metrics().UpstreamConns; n != 0 {
				t.Errorf("%d upstream connections kept", n)
			}
		})
	}
}

func TestUnaskedUpgradeAndBytes(t *testing.T) {
	b := start(t, canned(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), nil)
	b.responses = 1
	b.dial().get("/")
	b.expect(0, 502, "unexpected_upgrade")

	// Bytes behind a complete response are never the next request's response.
	var n atomic.Int32
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for readRequest(br) != "" {
			n.Add(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
		}
	})
	b = start(t, url, nil)
	b.responses = 3
	c := b.dial()
	for range 3 {
		if _, body := c.get("/"); body != "ok" {
			t.Error(body)
		}
	}
	if n.Load() != 3 {
		t.Error(n.Load())
	}
}
