package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/e2e"
)

// reloadTrial is a wayside that is reloaded with different configurations again and again while WebSockets are open and requests arrive.
type reloadTrial struct {
	*tlsTrial
	servers []*httptest.Server

	requests, failed atomic.Int64
	echoes, closed   atomic.Int64
}

func reload(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	reloads := flags.Int("reloads", 100, "reloads")
	sockets := flags.Int("sockets", 50, "WebSockets")
	clients := flags.Int("clients", 16, "clients that send requests without a pause")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	base, err := newTLSTrial(ctx)
	defer base.end()
	if err != nil {
		return "", err
	}
	t := &reloadTrial{tlsTrial: base}
	for range 2 {
		s := httptest.NewServer(http.HandlerFunc(echo))
		defer s.Close()
		t.servers = append(t.servers, s)
	}
	if err := t.configure(0); err != nil {
		return "", err
	}
	if err := t.w.Start(ctx); err != nil {
		return "", err
	}
	return t.run(ctx, *reloads, *sockets, *clients)
}

// echo sends back each message on a WebSocket, and also responds to other requests.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		_, _ = io.WriteString(w, "ok\n")
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// configure writes the n-th configuration. The certificate is new each time; every second configuration lacks one server, and has one
// more route and different limits and checks.
func (t *reloadTrial) configure(n int) error {
	cert, err := t.ca.Make(certtest.Leaf{Names: []string{"edge.test"}})
	if err == nil {
		_, _, err = cert.Save(t.dir, "edge")
	}
	if err != nil {
		return err
	}
	servers, more := []string{t.servers[0].URL, t.servers[1].URL}, ""
	if n%2 == 1 {
		servers = servers[:1]
		more = "  - {name: closed, path: /closed, respond: {status: 503}}\n"
	}
	text := fmt.Sprintf(`listen: %s
tls: {cert_file: %[2]s/edge.crt, key_file: %[2]s/edge.key, hsts: %[3]ds}
proxy: {body_bytes_max: %[3]dMiB}
upstreams:
  chat: {servers: [%[4]s], health: {path: /ready, every: %[3]ds, timeout: 1s}, retries: %[5]d}
routes:
%[6]s  - {name: chat, to: chat}
`, t.w.Listen, t.dir, n%5+1, strings.Join(servers, ", "), n%3, more)
	return os.WriteFile(filepath.Join(t.dir, "edge.yaml"), []byte(text), 0o600)
}

// client returns an HTTP/1.1 client with its own connections.
func (t *reloadTrial) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: t.tls.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", t.w.Listen)
		},
	}}
}

func (t *reloadTrial) run(ctx context.Context, reloads, sockets, clients int) (string, error) {
	traffic, endTraffic := context.WithCancel(ctx)
	defer endTraffic()
	var all sync.WaitGroup
	opened := make(chan error, sockets)
	for range sockets {
		all.Go(func() { t.talk(ctx, traffic, opened) })
	}
	for range sockets {
		if err := <-opened; err != nil {
			return "", fmt.Errorf("open a WebSocket: %w", err)
		}
	}
	for range clients {
		all.Go(func() { t.request(traffic) })
	}
	for n := 1; n <= reloads; n++ {
		if err := t.configure(n); err != nil {
			return "", err
		}
		if _, err := t.w.Ask(ctx, http.MethodPost, "/-/reload"); err != nil {
			return "", fmt.Errorf("reload %d: %w", n, err)
		}
		// Each WebSocket is used after each reload.
		for before := t.echoes.Load(); t.echoes.Load() < before+2*int64(sockets) && t.closed.Load() == 0; {
			time.Sleep(time.Millisecond)
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
		}
	}
	endTraffic()
	all.Wait()
	found := fmt.Sprintf("%d reloads, %d WebSockets with %d messages, %d of them closed; %d requests, %d failed", reloads, sockets, t.echoes.Load(),
		t.closed.Load(), t.requests.Load(), t.failed.Load())
	return found, errors.Join(t.first, t.compareBooks(ctx, sockets))
}

// talk opens a WebSocket and sends messages over it until the traffic ends.
func (t *reloadTrial) talk(ctx, traffic context.Context, opened chan<- error) {
	conn, _, err := websocket.Dial(ctx, "wss://edge.test/socket", &websocket.DialOptions{HTTPClient: t.client()}) //nolint:bodyclose // the connection owns the body
	opened <- err
	if err != nil {
		return
	}
	for n := 0; traffic.Err() == nil; n++ {
		sent := fmt.Sprint("message ", n)
		err := conn.Write(ctx, websocket.MessageText, []byte(sent))
		var got []byte
		if err == nil {
			_, got, err = conn.Read(ctx)
		}
		if err != nil || string(got) != sent {
			t.closed.Add(1)
			t.note(fmt.Errorf("WebSocket: %q: %w", got, err))
			return
		}
		t.echoes.Add(1)
		time.Sleep(10 * time.Millisecond)
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
}

// request sends requests until the traffic ends. Every tenth request uses a new connection.
func (t *reloadTrial) request(traffic context.Context) {
	c := t.client()
	for n := 1; traffic.Err() == nil; n++ {
		resp, err := c.Get("https://edge.test/page")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			t.requests.Add(1)
			if resp.StatusCode != http.StatusOK {
				err = errors.Join(err, errors.New(resp.Status))
			}
		}
		if err != nil {
			t.failed.Add(1)
			t.note(err)
		}
		if n%10 == 0 {
			c.CloseIdleConnections()
		}
	}
	c.CloseIdleConnections()
}

// compareBooks stops wayside and compares its archive with the results of the clients.
func (t *reloadTrial) compareBooks(ctx context.Context, sockets int) error {
	var streams, pages int64
	var wrong error
	err := t.eachEvent(ctx, func(l e2e.Line) {
		switch {
		case l.Route != "chat" || l.Error != "":
			wrong = errors.Join(wrong, fmt.Errorf("an unexpected event %+v", l))
		case l.Kind == "stream" && l.Status == http.StatusSwitchingProtocols:
			streams++
		case l.Kind == "request" && l.Status == http.StatusOK:
			pages++
		}
	})
	err = errors.Join(err, wrong)
	if streams != int64(sockets) || pages != t.requests.Load() {
		err = errors.Join(err, fmt.Errorf("the clients have %d WebSockets and %d responses, the books %d and %d", sockets, t.requests.Load(), streams, pages))
	}
	return err
}
