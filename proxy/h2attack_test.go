package proxy

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/test/h2attack"
)

// attackedService responds to the requests of the attacks. It accepts WebSockets, but does not read from them, and closes them when over is closed.
func attackedService(over <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "websocket" {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, strings.ReplaceAll(switching, "%s", string(http1.AppendWebSocketAccept(nil, []byte(r.Header.Get("Sec-WebSocket-Key"))))))
				<-over
			}
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, 10_000))
	}
}

// TestHTTP2Attacks: each hostile connection ends, with its streams; others are served meanwhile, and memory stays bounded.
func TestHTTP2Attacks(t *testing.T) {
	list := h2attack.All()
	if len(list) < 60 {
		t.Fatalf("only %d attacks", len(list))
	}
	over := make(chan struct{})
	url := origin(t, attackedService(over))
	defer close(over)
	b := start(t, url, func(o *Options) {
		o.HeaderTimeout, o.ReadTimeout, o.WriteTimeout, o.IdleTimeout = time.Second, time.Second, time.Second, 2*time.Second
		o.TunnelTimeout = time.Second
		o.MaxHeldBytes = 16 << 20
	})
	b.responses = -1
	healthy := b.h2()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, attack := range list {
		a := b.dialALPN()
		_ = a.conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
		ended := make(chan struct{})
		if !attack.Unread {
			go func() { // acknowledges nothing, and opens no window
				_, _ = io.Copy(io.Discard, a.br)
				close(ended)
			}()
		}
		attack.Write(a.conn)
		resp, err := healthy.Get("http://" + b.addr + "/healthy")
		if err != nil {
			t.Fatalf("%s: another client: %v", attack.Name, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 10_000 {
			t.Errorf("%s: another client has %d bytes: %v", attack.Name, len(body), err)
		}
		if attack.Held {
			_ = a.conn.Close() // the time limits have tests of their own
			continue
		}
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the connection is still open", attack.Name)
		}
		_ = a.conn.Close()
	}
	until(t, "all streams have ended", func() bool { m := b.p.Metrics(); return m.InFlight == 0 && m.HTTP2Streams == 0 })
	until(t, "no memory is counted", func() bool { return b.p.held.Load() == 0 })
	runtime.GC() // twice, because pools keep their contents for one
	runtime.GC()
	runtime.ReadMemStats(&after)
	if more := int64(after.HeapInuse) - int64(before.HeapInuse); more > 16<<20 {
		t.Errorf("%d bytes more of heap", more)
	}
	t.Logf("%d attacks; limits: %v", len(list), b.p.Metrics().HTTP2Limits)
}
