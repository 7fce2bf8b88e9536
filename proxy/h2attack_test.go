package proxy

import (
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

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

// lastGoAway reads frames until the server disconnects, acknowledges nothing, and opens no window. It returns the error code of the last GOAWAY,
// or noGoAway.
func lastGoAway(r io.Reader) xhttp2.ErrCode {
	code, f := noGoAway, xhttp2.NewFramer(io.Discard, r)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return code
		}
		if g, ok := frame.(*xhttp2.GoAwayFrame); ok {
			code = g.ErrCode
		}
	}
}

const noGoAway = xhttp2.ErrCode(1<<32 - 1)

// attack runs an attack, during which another client is served. It returns the error code with which the connection ended, or noGoAway.
func (b *bench) attack(attack h2attack.Attack, healthy *http.Client) xhttp2.ErrCode {
	a := b.dialALPN()
	defer func() { _ = a.conn.Close() }()
	_ = a.conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
	ended := make(chan xhttp2.ErrCode, 1)
	if !attack.Unread {
		go func() { ended <- lastGoAway(a.br) }()
	}
	attack.Write(a.conn)
	resp, err := healthy.Get("http://" + b.addr + "/healthy")
	if err != nil {
		b.t.Fatalf("%s: another client: %v", attack.Name, err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 10_000 {
		b.t.Errorf("%s: another client has %d bytes: %v", attack.Name, len(body), err)
	}
	if attack.Held {
		return noGoAway // the time limits have tests of their own
	}
	select {
	case code := <-ended:
		if !slices.Contains(attack.Codes, code) {
			b.t.Errorf("%s: the connection ended with %v, want %v", attack.Name, code, attack.Codes)
		}
		return code
	case <-time.After(30 * time.Second):
		b.t.Fatalf("%s: the connection is still open", attack.Name)
	}
	return noGoAway
}

// TestHTTP2Attacks: each hostile connection ends for its reason, with its streams; others are served meanwhile, and memory stays bounded.
func TestHTTP2Attacks(t *testing.T) {
	list := h2attack.All()
	if len(list) < 60 {
		t.Fatalf("only %d attacks", len(list))
	}
	over := make(chan struct{})
	url := origin(t, attackedService(over))
	defer close(over)
	b := start(t, url, func(o *Options) {
		// No connection may end only because of the time. Some tunnels must: the service does not close them when the client has left.
		o.HeaderTimeout, o.ReadTimeout, o.WriteTimeout, o.IdleTimeout, o.TunnelTimeout = time.Hour, time.Hour, time.Hour, time.Hour, time.Second
		o.MaxHeldBytes = 16 << 20
	})
	b.responses = -1
	healthy := b.h2()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	exceeded := int64(0) // connections that exceeded a limit
	for _, attack := range list {
		if b.attack(attack, healthy) == xhttp2.ErrCodeEnhanceYourCalm {
			exceeded++
		}
	}
	until(t, "all streams have ended", func() bool { m := b.p.Metrics(); return m.InFlight == 0 && m.HTTP2Streams == 0 })
	until(t, "no memory is counted", func() bool { return b.p.held.Load() == 0 })
	runtime.GC() // twice, because pools keep their contents for one
	runtime.GC()
	runtime.ReadMemStats(&after)
	if more := int64(after.HeapInuse) - int64(before.HeapInuse); more > 16<<20 {
		t.Errorf("%d bytes more of heap", more)
	}
	limits := b.p.Metrics().HTTP2Limits
	t.Logf("%d attacks; limits: %v", len(list), limits)
	for _, name := range []string{"streams", "control_frames", "continuations", "fields"} { // the others depend on how fast the service is
		if limits[name] == 0 {
			t.Errorf("no client exceeded %s", name)
		}
	}
	counted := -limits["streams"] // a refused stream does not end its connection
	for _, n := range limits {
		counted += n
	}
	if counted < exceeded {
		t.Errorf("%d connections exceeded a limit, but %d are counted", exceeded, counted)
	}
}
