package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/link"
	"github.com/wayside-proxy/wayside/internal/secure"
)

// TestBooksThatAnswerNothing: a request that may take long is not sent to a books process that does not answer a ping.
// Afterwards BooksSilent reports that without sending another ping.
func TestBooksThatAnswerNothing(t *testing.T) {
	s := newServer(t, "")
	s.books.ping = 50 * time.Millisecond
	released := make(chan struct{})
	books(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-released:
			_, _ = io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	}))
	if _, silent := s.BooksSilent(); silent {
		t.Error("said to be silent before it was asked anything")
	}
	h := listen(t, s.Serve)
	for _, a := range []answer{get(t, h, "POST", "/-/job/archive"), get(t, h, "GET", "/api/v1/paths")} {
		if a.status != 503 || !strings.Contains(a.body, ErrBooksSilent.Error()) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	for what, err := range map[string]error{
		"asked":  func() error { _, err := s.AskBooks(t.Context(), "GET", InternalPrefix+"verify"); return err }(),
		"posted": func() error { _, err := s.PostBooks(t.Context(), InternalPrefix+"forget", nil); return err }(),
		"pinged": s.PingBooks(t.Context()),
	} {
		if !errors.Is(err, ErrBooksSilent) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, silent := s.BooksSilent(); !silent {
		t.Error("not said to be silent")
	}
	bounded, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.AskBooks(bounded, "GET", InternalPrefix+"view"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asked with a deadline: %v", err)
	}
	close(released)
	s.books.peer.Load().wait = pingWait // it answers, however slowly
	waitFor(t, "a question to one that answers again", func() bool {
		a := get(t, h, "GET", "/api/v1/paths")
		return a.status == 200 && a.body == "done"
	})
	if _, silent := s.BooksSilent(); silent {
		t.Error("still said to be silent")
	}
}

// frozenBooks connects a books process that was stopped: it accepts no connections and answers nothing.
func frozenBooks(t *testing.T, s *Server) (resume func()) {
	t.Helper()
	near, far, err := link.Pair("control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	dialer, err := link.NewDialer(near)
	if err != nil {
		t.Fatal(err)
	}
	s.SetBooks(dialer)
	return func() {
		conn, err := net.FileConn(far)
		if err != nil {
			t.Fatal(err)
		}
		listener, err := link.NewListener(conn)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: secure.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "wayside_books_gauge 9\n")
		}))}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
	}
}

// TestBooksThatStandStill: while the books process is stopped, requests use a limited number of descriptors, and
// requests for health and for the metrics of this process are still answered. When it continues, everything works
// again.
func TestBooksThatStandStill(t *testing.T) {
	s := newServer(t, "")
	s.books.ping = 100 * time.Millisecond
	s.SetReady(true)
	resume := frozenBooks(t, s)
	s.opt.Checks = append(s.opt.Checks, Check{"books", func() (bool, string) {
		if _, silent := s.BooksSilent(); silent {
			return false, "silent"
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := s.AskBooks(ctx, "GET", InternalPrefix+"status")
		return err == nil, "asked"
	}})
	admin, probes := listen(t, s.Serve), listen(t, s.ServeProbes)
	ask := func() {
		t.Helper()
		for target, want := range map[string]int{"/metrics": 200, "/readyz?verbose": 200, "/livez": 200} {
			for _, address := range []string{admin, probes} {
				if a := get(t, address, "GET", target); a.status != want {
					t.Fatalf("%s: %d %s", target, a.status, a.body)
				}
			}
		}
		for range 3 { // clients that do not wait for the response
			_ = dial(t, admin, "GET /api/v1/paths HTTP/1.1\r\nHost: localhost\r\n\r\n").Close()
		}
		if err := s.PingBooks(t.Context()); !errors.Is(err, ErrBooksSilent) {
			t.Fatalf("pinged: %v", err)
		}
		if a := get(t, admin, "GET", "/api/v1/paths"); a.status != 503 || !strings.Contains(a.body, ErrBooksSilent.Error()) {
			t.Fatalf("a page: %d %s", a.status, a.body)
		}
	}
	ask()
	before := len(descriptors(t))
	for range 30 {
		ask()
	}
	if after := len(descriptors(t)); after > before+10 { // descriptors of the last few clients may still be open
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	resume()
	waitFor(t, "pages are not answered again", func() bool { return get(t, admin, "GET", "/api/v1/paths").status == 200 })
	waitFor(t, "the metrics of the books process are not there again", func() bool {
		return strings.Contains(get(t, probes, "GET", "/metrics").body, "wayside_books_gauge 9")
	})
}
