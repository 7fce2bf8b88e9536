package difftest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/httpcorpus"
)

// mutants is the number of mutated requests that TestMutations sends.
const mutants = 1000

// silence is how long no byte must have come back until a mutant counts as incomplete.
const silence = 200 * time.Millisecond

// TestMutations sends requests from the corpus and plain ones with random changes: bytes and lines are inserted, replaced and removed. Four
// origins must read the same requests with the same bodies from whatever wayside forwards, except for requests that an
// origin refuses. The next request on the connection must get its own response.
func TestMutations(t *testing.T) {
	origins := []origin{goOrigin(t, "net/http"), behind(t, "nginx", nginx), behind(t, "haproxy", haproxy), node(t)}
	const seed = 3
	r := rand.New(rand.NewPCG(seed, 0))
	raws := make([]string, mutants)
	for i := range raws {
		raws[i] = mutate(r)
	}
	believed, refused := make([][][]request, len(origins)), make([][]int, len(origins))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	t.Run("send", func(t *testing.T) {
		for i, o := range origins {
			believed[i], refused[i] = make([][]request, len(raws)), make([]int, len(raws))
			t.Run(o.name, func(t *testing.T) {
				t.Parallel()
				addr, _ := wayside(t, o.addr)
				for k, raw := range raws {
					believed[i][k], refused[i][k] = try(t, addr, o, k, raw)
				}
			})
		}
	})
	passed := 0
	for k, raw := range raws {
		all, least := believed[0][k], refused[0][k]
		for i := range origins {
			if len(believed[i][k]) > len(all) {
				all = believed[i][k]
			}
			least = min(least, refused[i][k])
		}
		passed += len(all)
		for i, o := range origins {
			got, more := believed[i][k], refused[i][k]-least
			if !within(got, all) || len(got) < len(all) && more == 0 { // an origin that refuses a request may end the connection
				t.Errorf("%q: of %q %s believes %q and refuses %d", raw, all, o.name, got, more)
			}
		}
	}
	t.Logf("%d mutants, %d requests arrived, %d origins agree", len(raws), passed, len(origins))
}

// within reports whether part is in whole, in the same order.
func within(part, whole []request) bool {
	for _, q := range whole {
		if len(part) > 0 && part[0] == q {
			part = part[1:]
		}
	}
	return len(part) == 0
}

// try sends a mutant and two more requests. It returns the requests that the origin believes it has received, and how many were refused.
func try(t *testing.T, addr string, o origin, k int, raw string) (believed []request, refused int) {
	t.Helper()
	answer := finish(t, addr, raw+httpcorpus.Smuggled+"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	next := fmt.Sprintf("/next/%d", k)
	if own, _ := converse(t, addr, "GET "+next+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(own, "HTTP/1.1 200 ") || !strings.HasSuffix(own, next) {
		t.Errorf("%s: %q: the next request got %q", o.name, raw, own)
	}
	for _, q := range o.received() {
		if q.URI != next && q.URI != "*" { // net/http responds to OPTIONS * without calling the handler
			believed = append(believed, q)
		}
	}
	return believed, strings.Count(answer, "HTTP/1.1 4")
}

// finish sends raw and reads until the other side closes. If that side waits for more, finish half-closes the connection.
func finish(t *testing.T, addr, raw string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, raw) // a server may close before it has read everything
	var answer []byte
	limit := silence
	for buf := make([]byte, 64<<10); ; {
		_ = conn.SetReadDeadline(time.Now().Add(limit))
		n, err := conn.Read(buf)
		answer = append(answer, buf[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) && limit == silence {
			_ = conn.(*net.TCPConn).CloseWrite()
			limit = 10 * time.Second
			continue
		}
		if err != nil {
			return string(answer)
		}
	}
}

// plain are the requests from which mutants are made, in addition to those in the corpus.
var plain = []string{
	"GET /own HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
	"POST /own HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
	"POST /own HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"POST /own HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
	"POST /own HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
	"PUT http://a/own HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
	"HEAD /own HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
	"DELETE /own?q HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n",
}

// genes are inserted at any position. lines are inserted at the beginning or the end of the header.
var (
	genes = []string{
		"\r", "\n", "\r\n", "\x00", " ", "\t", "\x0b", "\x0c", "\x85", "\xa0", ",", ";", ":", "0", "1", "5", "+", "-", "_", "0x", "\"", "'", "=", "%", "#", "/", "\\", "..", "a", "\x7f", "\x80",
		"\xff", "\xe2\x80\xa8", "chunked", "identity", "close", "keep-alive", "\r\n\r\n", "\n\n", "0\r\n\r\n", "*", "?", "@", "[", "]", "HTTP/1.1", "GET ", "\x08", "\x1b", "~", "^", "`", "{", "|", "&", "$", "!",
	}
	lines = []string{
		"Content-Length: 5", "Content-Length: 0", "Transfer-Encoding: chunked", "Connection: close", "Connection: keep-alive", "Connection: Host", "Connection: Content-Length",
		"Connection: Transfer-Encoding, close", "Content_Length: 5", "Transfer_Encoding: chunked", "Expect: 100-continue", "Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: h2c", "Host: b", "TE: trailers",
		"Trailer: Content-Length", "X-Forwarded-For: 1", "X: \"a", "Proxy-Connection: close", "Keep-Alive: timeout=5", "Max-Forwards: 0", "Cookie: a=b; c=\"d", "Range: bytes=0-0", "Content-Encoding: chunked",
		"X-HTTP-Method-Override: PUT", "Content-Type: message/http",
	}
)

// mutate makes a mutant with up to three changes.
func mutate(r *rand.Rand) string {
	s := plain[r.IntN(len(plain))]
	if corpus := httpcorpus.Requests(); r.IntN(3) == 0 {
		if s = corpus[r.IntN(len(corpus))].Raw; len(s) > 2000 {
			s = plain[0]
		}
	}
	for range 1 + r.IntN(3) {
		at := r.IntN(len(s) + 1)
		gene, line := genes[r.IntN(len(genes))], lines[r.IntN(len(lines))]+"\r\n"
		switch r.IntN(6) {
		case 0, 1:
			s = s[:at] + gene + s[at:]
		case 2:
			s = s[:at] + gene + s[min(at+1, len(s)):]
		case 3:
			s = s[:at] + s[min(at+1, len(s)):]
		case 4:
			s = insertBehind(s, "\r\n", line)
		case 5:
			s = strings.Replace(s, "\r\n\r\n", "\r\n"+line+"\r\n", 1)
		}
	}
	return s
}

func insertBehind(s, mark, text string) string {
	before, after, found := strings.Cut(s, mark)
	if !found {
		return s
	}
	return before + mark + text + after
}
