package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
)

// The kinds of requests of the mixed proof. They are in the query, which the books do not record.
const (
	kindPlain    = "plain"
	kindHead     = "head"
	kind204      = "204"
	kind304      = "304"
	kindChunked  = "chunked"
	kindMedium   = "medium"   // wayside reads the whole body into a buffer that connections share
	kindLarge    = "large"    // streamed
	kindClose    = "close"    // the body ends with the connection
	kindTruncate = "truncate" // fewer bytes than declared, buffered
	kindCut      = "cut"      // the same, streamed
	kindReset    = "reset"    // a reset instead of a response
	kindResetMid = "resetmid" // a reset in the middle of a chunked body
	kindTimeout  = "timeout"  // no response
	kindStale    = "stale"    // closes the persistent connection without announcing it
	kindUpgrade  = "upgrade"
)

const (
	mediumBytes = 40_000
	largeBytes  = 150_000
)

// mixedOrigin sends the kind of response that the query requests, and puts the nonce of the request into every part of it. It counts how
// many times each request arrived completely.
type mixedOrigin struct {
	ln      net.Listener
	arrived []atomic.Uint32 // by nonce
	conns   sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]struct{} // guarded by mu
}

func startMixedOrigin(nonces uint64) (*mixedOrigin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &mixedOrigin{ln: ln, arrived: make([]atomic.Uint32, nonces), open: map[net.Conn]struct{}{}}
	go o.accept()
	return o, nil
}

func (o *mixedOrigin) url() string { return "http://" + o.ln.Addr().String() }

func (o *mixedOrigin) accept() {
	for {
		conn, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.open[conn] = struct{}{}
		o.mu.Unlock()
		o.conns.Go(func() {
			o.serve(conn.(*net.TCPConn))
			_ = conn.Close()
			o.mu.Lock()
			delete(o.open, conn)
			o.mu.Unlock()
		})
	}
}

func (o *mixedOrigin) stop() {
	_ = o.ln.Close()
	o.mu.Lock()
	for conn := range o.open {
		_ = conn.Close()
	}
	o.mu.Unlock()
	o.conns.Wait()
}

func (o *mixedOrigin) serve(conn *net.TCPConn) {
	br := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the request is incomplete
		}
		nonce, ok := load.Nonce([]byte(req.URL.Path))
		if !ok || nonce >= uint64(len(o.arrived)) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") // the readiness probe
			continue
		}
		o.arrived[nonce].Add(1)
		if !o.answer(conn, br, req, strconv.FormatUint(nonce, 10), string(body)) {
			return
		}
	}
}

// answer sends a response and reports whether the connection stays open.
func (o *mixedOrigin) answer(conn *net.TCPConn, br *bufio.Reader, req *http.Request, nonce, body string) bool {
	head := "\r\nX-Nonce: " + nonce + "\r\n"
	fixed := func(text string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK%sContent-Length: %d\r\n\r\n%s", head, len(text), text)
	}
	var out string
	keep := true
	switch req.URL.Query().Get("k") {
	case kindHead:
		out = "HTTP/1.1 200 OK" + head + "Content-Length: 777\r\n\r\n"
	case kind204:
		out = "HTTP/1.1 204 No Content" + head + "\r\n"
	case kind304:
		out = "HTTP/1.1 304 Not Modified" + head + "Content-Length: 5\r\n\r\n"
	case kindChunked:
		out = fmt.Sprintf("HTTP/1.1 200 OK%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n1\r\n.\r\n0\r\n\r\n", head, len(nonce), nonce)
	case kindMedium:
		text := fixed(repeat(nonce, mediumBytes))
		if _, err := io.WriteString(conn, text[:mediumBytes/2]); err != nil {
			return false
		}
		time.Sleep(time.Millisecond) // gives wayside time to read a different response in the meantime
		out = text[mediumBytes/2:]
	case kindLarge:
		out = fixed(repeat(nonce, largeBytes))
	case kindClose:
		out, keep = "HTTP/1.1 200 OK"+head+"\r\n"+nonce, false
	case kindTruncate:
		out, keep = "HTTP/1.1 200 OK"+head+"Content-Length: 1000\r\n\r\n"+nonce, false
	case kindCut:
		out, keep = "HTTP/1.1 200 OK"+head+"Content-Length: 1000000\r\n\r\n"+repeat(nonce, largeBytes), false
	case kindReset:
		_ = conn.SetLinger(0)
		return false
	case kindResetMid:
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK"+head+"Transfer-Encoding: chunked\r\n\r\n5\r\nab")
		_ = conn.SetLinger(0)
		return false
	case kindTimeout:
		_, _ = br.ReadByte() // waits until the proxy gives up
		return false
	case kindStale:
		out, keep = fixed(nonce), false
	case kindUpgrade:
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols"+head+"Connection: Upgrade\r\nUpgrade: nonce\r\n\r\n"+nonce+" ")
		_, _ = io.Copy(conn, br)
		return false
	default:
		out = fixed(nonce + body)
	}
	_, err := io.WriteString(conn, out)
	return err == nil && keep
}

// repeat returns a text of n bytes that consists of repetitions of the nonce.
func repeat(nonce string, n int) string {
	return strings.Repeat(nonce+" ", n/(len(nonce)+1)+1)[:n]
}
