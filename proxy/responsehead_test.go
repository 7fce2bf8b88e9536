package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// paddedHead returns the header of a response with n bytes.
func paddedHead(status string, n int) string {
	head := "HTTP/1.1 " + status + "\r\nX: "
	end := "\r\n\r\n"
	if status == "200 OK" {
		end = "\r\nContent-Length: 5" + end
	}
	return head + strings.Repeat("x", n-len(head)-len(end)) + end
}

// headOrigin responds to /n with a header of n bytes, in several writes. For /n/103, it first sends an interim response of the same size.
func headOrigin(t *testing.T) string {
	return rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			var n int
			r := readRequest(br)
			if _, err := fmt.Sscanf(r, "GET /%d", &n); err != nil {
				return
			}
			answer := paddedHead("200 OK", n) + "hello"
			if strings.Contains(r, "/103 ") {
				answer = paddedHead("103 Early Hints", n) + answer
			}
			for len(answer) > 0 {
				piece := min(len(answer), 7000)
				if _, err := io.WriteString(conn, answer[:piece]); err != nil {
					return
				}
				answer = answer[piece:]
			}
		}
	})
}

func TestResponseHeaderLimit(t *testing.T) {
	for _, c := range []struct{ limit, most int }{{0, 16 << 10}, {1 << 10, 1 << 10}, {20_000, 20_000}, {1 << 20, 1 << 20}} {
		b := start(t, headOrigin(t), func(o *Options) { o.MaxResponseHeaderBytes = c.limit })
		client := b.dial()
		for _, n := range []int{c.most, 200, c.most - 1, c.most/2 + 200} {
			resp, body := client.get(fmt.Sprintf("/%d", n))
			b.responses++
			if resp.StatusCode != 200 || body != "hello" || !strings.Contains(paddedHead("200 OK", n), "\r\nX: "+resp.Header.Get("X")+"\r\n") {
				t.Errorf("limit %d, %d bytes: %s %q", c.limit, n, resp.Status, body)
			}
		}
		if resp, _ := client.get(fmt.Sprintf("/%d/103", c.most)); resp.StatusCode != 103 {
			t.Errorf("limit %d: %s", c.limit, resp.Status)
		}
		if resp, body := client.receive("GET"); resp.StatusCode != 200 || body != "hello" {
			t.Errorf("limit %d: %s %q", c.limit, resp.Status, body)
		}
		b.responses++
		if n := b.p.Metrics().UpstreamConns; n != 1 {
			t.Errorf("limit %d: %d upstream connections", c.limit, n)
		}
		if resp, _ := client.get(fmt.Sprintf("/%d", c.most+1)); resp.StatusCode != 502 {
			t.Errorf("limit %d: %s", c.limit, resp.Status)
		}
		b.expect(b.responses, 502, "response_header_too_large")
		b.responses++
		until(t, "the log names the key", func() bool {
			return strings.Contains(b.log.String(), fmt.Sprintf("proxy.response_header_bytes_max (%d bytes)", c.most))
		})
	}
}

// TestLargeResponseHeadersAreHeld: large headers count as held memory, and are uncounted afterwards.
func TestLargeResponseHeadersAreHeld(t *testing.T) {
	b := start(t, headOrigin(t), func(o *Options) { o.MaxResponseHeaderBytes, o.MaxHeldBytes = 1<<20, 20_000 })
	b.responses = 3
	c := b.dial()
	for i, n := range []int{18_000, 60_000, 18_000} {
		want := []int{200, 503, 200}[i]
		if resp, _ := c.get(fmt.Sprintf("/%d", n)); resp.StatusCode != want {
			t.Errorf("%d bytes: %s", n, resp.Status)
		}
	}
	b.expect(1, 503, "memory_max")
	until(t, "nothing is held", func() bool { return b.p.held.Load() == 0 })
}
