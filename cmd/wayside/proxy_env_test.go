package main

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wayside-proxy/wayside/test/s3test"
)

// forwarder is an HTTP proxy that forwards all requests to one S3 server. Requests in a CONNECT tunnel are forwarded
// over TLS.
type forwarder struct {
	plain  *httputil.ReverseProxy
	secure *httptest.Server // TLS, in front of the same server

	mu    sync.Mutex
	asked []string
}

func newForwarder(t *testing.T, s *s3test.Server) *forwarder {
	t.Helper()
	to, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{plain: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host // the signature covers Host
	}}}
	f.secure = httptest.NewTLSServer(f.plain)
	t.Cleanup(f.secure.Close)
	return f
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if r.Method == http.MethodConnect {
		f.asked = append(f.asked, "CONNECT "+r.Host)
	} else {
		f.asked = append(f.asked, r.Method+" "+r.URL.String())
	}
	f.mu.Unlock()
	if r.Method != http.MethodConnect {
		f.plain.ServeHTTP(w, r)
		return
	}
	out, err := net.Dial("tcp", f.secure.Listener.Addr().String())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	_, _ = io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
	_, _ = io.Copy(in, out)
}

// proxied checks the beginning of the first request that the proxy has received since the last call, or that there was
// none.
func (f *forwarder) proxied(ts *testscript.TestScript, _ bool, args []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	got, want := "nothing", strings.Join(args, " ")
	if len(f.asked) > 0 {
		got = f.asked[0]
	}
	if !strings.HasPrefix(got, want) {
		ts.Fatalf("the proxy was asked for %q, want %q", got, want)
	}
	f.asked = nil
}

// TestProxyFromTheEnvironment runs each command in a separate process, because net/http reads these variables only once.
func TestProxyFromTheEnvironment(t *testing.T) {
	s := s3test.Start(t)
	f := newForwarder(t, s)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/proxy",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"proxied": f.proxied},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("PROXY", server.URL)
			env.Setenv("BUCKET", s.Bucket)
			env.Setenv("CA", ca)
			for _, setting := range s.Env() {
				name, value, _ := strings.Cut(setting, "=")
				env.Setenv(name, value)
			}
			return nil
		},
	})
}
