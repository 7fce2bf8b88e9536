package proxy

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
)

// BenchmarkHeaderThenBody uses a server that writes header and body separately, with Nagle's algorithm on, over a reused connection. A response takes 44
// ms unless the proxy acknowledges the header at once.
func BenchmarkHeaderThenBody(b *testing.B) {
	originLn := listen(b)
	go func() {
		for {
			conn, err := originLn.Accept()
			if err != nil {
				return
			}
			go splitResponses(conn.(*net.TCPConn))
		}
	}()
	ln := listen(b)
	p, err := New(Options{Upstream: "http://" + originLn.Addr().String(), Recorder: &encoder{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = p.Serve(ln) }()
	for b.Loop() {
		resp, err := http.Get("http://" + ln.Addr().String() + "/")
		if err != nil {
			b.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != "hello" {
			b.Fatalf("got %q, %v", body, err)
		}
	}
}

func splitResponses(conn *net.TCPConn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetNoDelay(false)
	for br := bufio.NewReader(conn); ; {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
		if _, err := io.WriteString(conn, "hello"); err != nil {
			return
		}
	}
}
