package admin

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
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
	f := newFront(&Options{Latest: func() (Document, bool) { return document, true }, Logger: slog.New(slog.DiscardHandler)}, ln.Addr(), time.Second)
	f.idle, f.silent = 2*time.Second, time.Second
	bounded := newPlaces(ln, slog.New(slog.DiscardHandler))
	accepting := make(chan struct{})
	go func() { defer close(accepting); f.accept(bounded) }()
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
	silent := dial("")
	if _, err := io.ReadAll(silent); err != nil {
		t.Errorf("a connection that sends nothing: %v, want its end", err)
	}
	_ = silent.Close()
	last := dial(ordinaryRequest)
	answered(last)
	_ = bounded.Close()
	<-accepting
	f.end()
	f.done.Wait()
	if _, err := io.ReadAll(last); err != nil {
		t.Errorf("the last connection: %v, want its end", err)
	}
	_ = last.Close()
	if taken := len(bounded.taken); taken != 0 {
		t.Errorf("%d places are still taken", taken)
	}
	if after := descriptors(); after > before-1 { // the listener is gone
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestPlaces: with as many connections as there may be, another waits until one of them leaves, whoever serves it.
func TestPlaces(t *testing.T) {
	if few, many, some := placesFor(0), placesFor(1<<20), placesFor(1024); few != placesMin || many != placesMax || some != 128 {
		t.Errorf("places: %d, %d, %d", few, many, some)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	document := Document{ETag: `"1"`, Plain: []byte("x")}
	f := newFront(&Options{Latest: func() (Document, bool) { return document, true }, Logger: slog.New(slog.DiscardHandler)}, ln.Addr(), time.Second)
	bounded := newPlaces(ln, slog.New(slog.NewTextHandler(&log, nil)))
	bounded.taken = make(chan struct{}, 2)
	accepting := make(chan struct{})
	go func() { defer close(accepting); f.accept(bounded) }()
	dial := func(request string) net.Conn {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	answered := func(conn net.Conn, within time.Duration) error {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		_, err := conn.Read(make([]byte, 1))
		return err //nolint:wrapcheck // of the test
	}
	first := dial(ordinaryRequest)
	if err := answered(first, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	second := dial("POST / HTTP/1.1\r\n")
	passed, err := f.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	third, fourth := dial(ordinaryRequest), dial(ordinaryRequest)
	if answered(third, 100*time.Millisecond) == nil || answered(fourth, 100*time.Millisecond) == nil {
		t.Error("more connections than places are served")
	}
	_ = first.Close()
	if err := answered(third, 20*time.Second); err != nil {
		t.Errorf("when the first has left: %v", err)
	}
	_, _ = passed.Close(), passed.Close()
	if err := answered(fourth, 20*time.Second); err != nil {
		t.Errorf("when net/http has closed the second: %v", err)
	}
	_ = bounded.Close()
	<-accepting
	f.end()
	f.done.Wait()
	_, _, _ = second.Close(), third.Close(), fourth.Close()
	if said := log.String(); strings.Count(said, "at_most=2") != 1 {
		t.Errorf("the log: %q", said)
	}
}

// TestFrontFinishesWhatItSends: at the end, a client that reads slowly gets its response whole; one that does not read is cut off.
func TestFrontFinishesWhatItSends(t *testing.T) {
	document := Document{ETag: `"1"`, Plain: bytes.Repeat([]byte("x"), 16<<20)}
	for _, reads := range []bool{true, false} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := New(Options{Snapshots: http.NotFoundHandler(), Latest: func() (Document, bool) { return document, true }, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		grace := 20 * time.Second
		if !reads {
			grace = 100 * time.Millisecond
		}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, ln, grace) }()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, ordinaryRequest); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatal(err)
		}
		cancel()
		got := 0
		if reads {
			time.Sleep(50 * time.Millisecond)
			text, err := io.ReadAll(conn)
			if got = len(text); err != nil {
				t.Error(err)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if reads && got < len(document.Plain) {
			t.Errorf("%d bytes of %d", got, len(document.Plain))
		}
		_ = conn.Close()
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
