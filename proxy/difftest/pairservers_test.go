package difftest

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/loopback"
)

// reverseProxyFor is like reverseProxy, for any pair of protocols.
func reverseProxyFor(t *testing.T, p pair, backend string) string {
	target := &url.URL{Scheme: "http", Host: backend}
	transport := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!p.origin)
	transport.Protocols.SetUnencryptedHTTP2(p.origin)
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	server := &http.Server{Handler: forward, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	ln := listen(t)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close(); transport.CloseIdleConnections() })
	return ln.Addr().String()
}

// nginxFor is like nginx, for any pair with an HTTP/1.1 server.
func nginxFor(t *testing.T, p pair, backend string) string {
	path := need(t, "nginx")
	addr, dir := loopback.Free(t), t.TempDir()
	listen := addr
	if p.client {
		listen += " http2"
	}
	run(t, addr, path, "-p", dir, "-e", "stderr", "-c", nginxConfig(t, dir, listen, backend))
	return addr
}

// haproxyFor is like haproxy, for any pair of protocols.
func haproxyFor(t *testing.T, p pair, backend string) string {
	path := need(t, "haproxy")
	addr := loopback.Free(t)
	bind, server := addr, backend
	if p.client {
		bind += " proto h2"
	}
	if p.origin {
		server += " proto h2"
	}
	run(t, addr, path, "-db", "-q", "-f", haproxyConfig(t, bind, server))
	return addr
}

// http2Reason is a reason that applies to some pairs only.
type http2Reason struct {
	pairs string // regular expression; empty means all
	reason
}

// http2Reasons are explained in docs/HTTP.md. The first one that matches a difference is used.
var http2Reasons = []http2Reason{
	{"2 to .", reason{id: "E01", peers: "haproxy", aspects: "request fields", scenarios: "host (default port|address)"}},
	{"2 to .", reason{id: "E02", peers: "haproxy", aspects: "request body", scenarios: "body (none|chunked empty)"}},
	{"2 to 1", reason{id: "E03", peers: "nginx", aspects: "requests", scenarios: "body trailer(s.*| authorization)"}},
	{"2 to .", reason{id: "E04", peers: "nginx|haproxy", aspects: "status", scenarios: "body trailer (framing|announced)"}},
	{"2 to .", reason{id: "E05", peers: "haproxy", aspects: "response body", scenarios: "broken (length large|chunked|trailer)"}},
	{"2 to 1", reason{id: "E06", peers: "haproxy", aspects: "status", scenarios: "broken header"}},
	{"1 to 2", reason{id: "E07", peers: "ReverseProxy|haproxy", aspects: "requests", scenarios: "upgrade to h2c"}},
	{". to 2", reason{id: "E08", peers: "ReverseProxy", aspects: "status", scenarios: "conditional"}},
	{". to 2", reason{id: "E09", peers: "haproxy", aspects: "response body", scenarios: "answer chunked empty"}},
	{"1 to 2", reason{id: "E10", peers: "haproxy", aspects: "response body", scenarios: "answer .* to 1\\.0"}},
	{". to 2", reason{id: "E11", peers: "ReverseProxy", aspects: "response body", scenarios: "broken length large"}},
	{"2 to 2", reason{id: "E12", peers: "ReverseProxy", aspects: "request fields", scenarios: "cookies"}},
}

func explainHTTP2(pair, scenario, peer, aspect string) string {
	for _, r := range http2Reasons {
		if matches(r.pairs, pair) && matches(r.peers, peer) && matches(r.aspects, aspect) && matches(r.scenarios, scenario) {
			return r.id
		}
	}
	return ""
}
