package client

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// serve starts an admin listener with the token "secret" and without a books process, and returns its URL.
func serve(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := admin.New(admin.Options{
		Token: "secret", Logger: slog.New(slog.DiscardHandler),
		Accounting: func(context.Context) (any, error) { return map[string]int{"responses": 7}, nil },
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln, time.Minute) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

// TestRefusalsSayWhatToDo sends requests to an admin listener, to another server, and to an address without a listener.
func TestRefusalsSayWhatToDo(t *testing.T) {
	base := serve(t)
	body, err := New(strings.TrimPrefix(base, "http://")+"/", "secret").Ask(t.Context(), "/api/v1/accounting")
	if err != nil || !strings.Contains(string(body), `"responses": 7`) {
		t.Errorf("%s, %v", body, err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	for want, c := range map[string]*Client{
		"it requires a token: set admin.token":            New(base, ""),
		"it does not accept the token that is configured": New(base, "wrong"),
		"which wayside never does: is this its admin":     New(other.URL, "secret"),
		"nothing is listening at http://127.0.0.1:1":      New("127.0.0.1:1", ""),
	} {
		if _, err := c.Ask(t.Context(), "/api/v1/accounting"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	var away *AwayError
	for _, ask := range []func() error{
		func() error { _, err := New(base, "secret").Ask(t.Context(), "/api/v1/paths"); return err },
		func() error { _, err := New(base, "secret").Open(t.Context(), "/api/v1/tail"); return err },
	} {
		if err := ask(); !errors.As(err, &away) {
			t.Errorf("without a books process: %v", err)
		}
	}
}

// TestFind finds the wayside of a data directory. If there is none, the error says how to name one.
func TestFind(t *testing.T) {
	dir, none := t.TempDir(), filepath.Join(t.TempDir(), "none")
	for _, at := range []string{dir, none} {
		if _, err := Find("", at, ""); !errors.Is(err, datadir.ErrNotRunning) || !strings.Contains(err.Error(), "--data DIR or --admin URL") {
			t.Errorf("%s: %v", at, err)
		}
	}
	lock, err := datadir.Acquire(dir, datadir.RunLock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	if err := datadir.WriteInfo(dir, datadir.Info{PID: os.Getpid(), Admin: "http://127.0.0.1:2"}); err != nil {
		t.Fatal(err)
	}
	if c, err := Find("", dir, ""); err != nil || c.Base != "http://127.0.0.1:2" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := Find("localhost:3/", dir, ""); err != nil || c.Base != "http://localhost:3" {
		t.Errorf("%+v, %v", c, err)
	}
}
