package admin

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestFrontClosesWhatItTook counts descriptors: connections that end, are handed over, stay quiet for too long or are
// there at the end leave none behind.
func TestFrontClosesWhatItTook(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	document := Document{ETag: `"1"`, Plain: []byte("x")}
	before := descriptors()
	f := newFront(&Options{Latest: func() (Document, bool) { return document, true }, Logger: slog.New(slog.DiscardHandler)}, ln.Addr())
	f.idle = 2 * time.Second
	accepting := make(chan struct{})
	go func() { defer close(accepting); f.accept(ln) }()
	dial := func(request string) net.Conn {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	answered := func(conn net.Conn) {
		if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatalf("not answered: %v", err)
		}
	}
	for range 20 {
		conn := dial(ordinaryRequest)
		answered(conn)
		_ = conn.Close()
	}
	for range 20 {
		conn := dial("POST /elsewhere HTTP/1.1\r\n")
		passed, err := f.listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if text := make([]byte, 4); passed.RemoteAddr() == nil || readFull(passed, text) != nil || string(text) != "POST" {
			t.Errorf("handed over without its bytes: %q from %v", text, passed.RemoteAddr())
		}
		_, _ = passed.Close(), conn.Close()
	}
	quiet := dial(ordinaryRequest)
	answered(quiet)
	if _, err := io.ReadAll(quiet); err != nil {
		t.Errorf("a quiet connection: %v, want its end", err)
	}
	_ = quiet.Close()
	last := dial(ordinaryRequest)
	answered(last)
	_ = ln.Close()
	<-accepting
	f.close()
	if _, err := io.ReadAll(last); err != nil {
		t.Errorf("the last connection: %v, want its end", err)
	}
	_ = last.Close()
	if after := descriptors(); after > before-1 { // the listener is gone
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func readFull(conn net.Conn, into []byte) error {
	_, err := io.ReadFull(conn, into)
	return err
}

// BenchmarkPoller is one client that asks again as soon as it has its answer.
func BenchmarkPoller(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	document := Document{ETag: `"1"`, Plain: make([]byte, 27_000)}
	s := New(Options{Snapshots: http.NotFoundHandler(), Latest: func() (Document, bool) { return document, true }, Logger: slog.New(slog.DiscardHandler)})
	done := make(chan error, 1)
	go func() { done <- s.Serve(b.Context(), ln, time.Second) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	answer, length := make([]byte, 32_000), 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(conn, ordinaryRequest); err != nil {
			b.Fatal(err)
		}
		for got := 0; length == 0 || got < length; {
			n, err := conn.Read(answer)
			if err != nil {
				b.Fatal(err)
			}
			if got += n; length == 0 && got > len(document.Plain) {
				length = got
			}
		}
	}
}
