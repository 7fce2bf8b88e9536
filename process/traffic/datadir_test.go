package traffic

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/link"
)

// TestLockedLater: a data directory that cannot be locked at the start is locked as soon as possible, and the collect socket is served from
// then on. The race detector checks the access to the lock.
func TestLockedLater(t *testing.T) {
	upstream := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(upstream.Close)
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, datadir.RunLock)
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{
		"listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0", "data.dir": dir, "upstream": upstream.URL, "collector.enabled": "false",
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{Config: cfg, LogTo: t.Output(), AccessTo: io.Discard, Started: func(datadir.Info) {
			if _, err := os.Stat(filepath.Join(dir, link.SocketName)); err == nil {
				t.Error("the collect socket is there before the directory is locked")
			}
			if err := os.Remove(inTheWay); err != nil {
				t.Error(err)
			}
		}})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	// The socket is served as soon as the directory is locked, which is shortly before run.json is written.
	eventually(t, func() error {
		conn, err := link.Connect(dir, link.Relay)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	eventually(t, func() error {
		_, err := datadir.ReadInfo(dir)
		return err
	})
}

// eventually waits until ok returns no error.
func eventually(t *testing.T, ok func() error) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestReachable: reachable returns an address to which clients can connect, whatever wayside listens on.
func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{"[::]:8091": "127.0.0.1:8091", "0.0.0.0:8091": "127.0.0.1:8091", "127.0.0.2:1": "127.0.0.2:1", "[::1]:1": "[::1]:1"} {
		addr, err := net.ResolveTCPAddr("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := reachable(addr); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}
