// Package websocket passes WebSockets of programs that were written by others through the real binary, over HTTP/2 on either side: node's
// http2 as client and as server, Chromium, and a client and a server in Go.
package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/testlog"
)

//go:embed peer.mjs
var peer []byte

// limit is the time limit for a test.
const limit = 2 * time.Minute

// rig is a wayside that speaks TLS, in front of an upstream.
type rig struct {
	t      *testing.T
	w      *e2e.Wayside
	ca     *certtest.CA
	dir    string
	port   string
	script string
}

func start(t *testing.T, upstream, driver string) *rig {
	t.Helper()
	binary, err := e2e.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	listen := loopback.Free(t)
	r := &rig{t: t, ca: certtest.NewCA(t, "websocket"), dir: t.TempDir(), port: listen[strings.LastIndexByte(listen, ':')+1:]}
	cert, key := r.ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}}).Write(t, r.dir, "server")
	r.script = write(t, r.dir, "peer.mjs", peer)
	write(t, r.dir, "ca.pem", r.ca.PEM())
	log := &testlog.Buffer{}
	r.w = &e2e.Wayside{
		Binary: binary, DataDir: filepath.Join(r.dir, "data"), Listen: listen, Log: log,
		Args: []string{"--upstream", upstream, "--tls-cert", cert, "--tls-key", key}, Env: []string{"WAYSIDE_PROXY_DRIVER=" + driver},
	}
	if err := r.w.Start(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	t.Cleanup(func() {
		if err := r.w.Stop(time.Minute); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return r
}

func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// socket is the record of a WebSocket.
type socket struct {
	Kind    string `json:"kind"`
	Method  string `json:"http_request_method"`
	Path    string `json:"url_path"`
	Status  int    `json:"http_response_status_code"`
	Version string `json:"network_protocol_version"`
	Error   string `json:"error_type"`
}

// expect waits until the books have n WebSockets, and checks that each is recorded as one that ended as it should.
func (r *rig) expect(n int, version string) {
	r.t.Helper()
	var got []socket
	for deadline := time.Now().Add(limit); len(got) < n && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = r.sockets()
	}
	if len(got) != n {
		r.t.Errorf("the books have %d WebSockets, want %d: %+v", len(got), n, got)
	}
	for _, s := range got {
		if s.Kind != "stream" || s.Method != "GET" || s.Status != 101 || s.Version != version || s.Error != "" {
			r.t.Errorf("%+v", s)
		}
	}
}

// sockets returns the WebSockets that the books have.
func (r *rig) sockets() (list []socket) {
	r.t.Helper()
	text, err := r.w.Ask(r.t.Context(), "GET", "/api/v1/events?limit=1000")
	if err != nil {
		r.t.Fatal(err)
	}
	var answer struct{ Events []socket }
	if err := json.Unmarshal(text, &answer); err != nil {
		r.t.Fatal(err)
	}
	for _, s := range answer.Events {
		if strings.HasPrefix(s.Path, "/socket") {
			list = append(list, s)
		}
	}
	return list
}

// node runs the client on node.
func (r *rig) node(sockets int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	ca := filepath.Join(r.dir, "ca.pem")
	out, err := exec.CommandContext(ctx, "node", r.script, "client", "https://localhost:"+r.port, ca, fmt.Sprint(sockets)).CombinedOutput()
	if err != nil || !bytes.Equal(bytes.TrimSpace(out), []byte("ok")) {
		r.t.Fatalf("%v: %s", err, out)
	}
}

// nodeServer starts the server that runs on node and speaks only HTTP/2, and returns its URL.
func nodeServer(t *testing.T) string {
	t.Helper()
	server := exec.CommandContext(t.Context(), "node", write(t, t.TempDir(), "peer.mjs", peer), "server")
	server.Stderr = t.Output()
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "h2c://127.0.0.1:" + strings.TrimSpace(port)
}

// goServer serves page, and WebSockets that send every message back, over HTTP/1.1. What is posted to /result goes to result.
func goServer(t *testing.T, page string, result chan<- string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/socket"):
			echo(w, r)
		case r.URL.Path == "/result":
			body, _ := io.ReadAll(r.Body)
			result <- string(body)
		default:
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, page)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(1 << 24)
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

// TestNodeClient: 20 WebSockets of node's http2 share one connection to wayside.
func TestNodeClient(t *testing.T) {
	r := start(t, goServer(t, "", nil), "auto")
	r.node(20)
	r.expect(20, "2")
}

// TestNodeServer: a server that speaks only HTTP/2 serves WebSockets of clients of both versions.
func TestNodeServer(t *testing.T) {
	for _, driver := range []string{"loop", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			r := start(t, nodeServer(t), driver)
			r.node(20)
			r.expect(20, "2")
			r = start(t, nodeServer(t), driver)
			for range 5 {
				r.talk()
			}
			r.expect(5, "1.1")
		})
	}
}

// talk opens a WebSocket over HTTP/1.1.
func (r *rig) talk() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.ca.Pool()}}
	defer tr.CloseIdleConnections()
	conn, _, err := websocket.Dial(ctx, "wss://localhost:"+r.port+"/socket", &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}})
	if err != nil {
		r.t.Fatal(err)
	}
	conn.SetReadLimit(1 << 24)
	large := make([]byte, 1<<20)
	_, _ = rand.Read(large)
	for _, message := range [][]byte{[]byte("hello"), {}, large} {
		if err := conn.Write(ctx, websocket.MessageBinary, message); err != nil {
			r.t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || !bytes.Equal(got, message) {
			r.t.Fatalf("%d bytes, want %d: %v", len(got), len(message), err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		r.t.Error(err)
	}
}

// page opens three WebSockets, one after the other and the last two at the same time, and reports what comes back. A fourth one is open
// when the worker that has opened it is stopped.
const page = `<!doctype html><title>WebSockets</title><script>
const large = 'abc'.repeat(100000);
const talk = path => new Promise(done => {
  const socket = new WebSocket('wss://' + location.host + path), got = [];
  socket.onopen = () => { socket.send('hello'); socket.send(large); };
  socket.onmessage = e => { got.push(e.data); if (got.length == 2) socket.close(1000); };
  socket.onclose = e => {
    const fine = got.length == 2 && got[0] == 'hello' && got[1] == large && e.wasClean;
    done(fine ? 'fine' : 'code ' + e.code + ' after ' + got.length);
  };
});
const abandon = path => new Promise(done => {
  const script = 'new WebSocket("wss://' + location.host + path + '").onopen = () => postMessage("open")';
  const worker = new Worker(URL.createObjectURL(new Blob([script])));
  worker.onmessage = () => { worker.terminate(); done(); };
});
(async () => {
  const results = [await talk('/socket/1')].concat(await Promise.all([talk('/socket/2'), talk('/socket/3')]));
  await abandon('/socket/4');
  await fetch('/result', {method: 'POST', body: results.join(', ')});
})();
</script>`

// TestChromium: a browser uses the HTTP/2 connection over which it has loaded a page for the page's WebSockets, too.
func TestChromium(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("SKIPPED, NOT PROVED: chromium is not installed (Debian: apt-get install chromium)")
	}
	result := make(chan string, 1)
	r := start(t, goServer(t, page, result), "auto")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var log testlog.Buffer
	browser := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--ignore-certificate-errors", "--remote-debugging-port=0", "--user-data-dir="+filepath.Join(r.dir, "chromium"), "https://localhost:"+r.port+"/")
	browser.Stdout, browser.Stderr, browser.WaitDelay = &log, &log, time.Second
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = browser.Wait() }()
	select {
	case got := <-result:
		if got != "fine, fine, fine" {
			t.Error(got)
		}
	case <-ctx.Done():
		t.Fatalf("the browser reports nothing; its output: %.2000s", log.String())
	}
	r.expect(4, "2")
}
