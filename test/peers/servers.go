package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/test/h2peer"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

//go:embed origin.js
var nodeOrigin string

// server is a program that is wayside's upstream.
type server struct {
	name, program, pkg string
	version            []string
	trailers           bool // whether it passes trailers
	start              func(ctx context.Context, l *lab, path string, encrypted bool) (addr string, err error)
}

var serverPrograms = []server{
	{"nginx", "nginx", "nginx-light", []string{"-v"}, false, func(ctx context.Context, l *lab, path string, encrypted bool) (string, error) {
		listen := "http2"
		if encrypted {
			listen = "ssl http2"
		}
		return l.nginx(ctx, path, listen, "location / { proxy_pass http://"+l.origin.http+"; proxy_http_version 1.1; proxy_buffering off; }")
	}},
	{"HAProxy", "haproxy", "haproxy", []string{"-v"}, true, func(ctx context.Context, l *lab, path string, encrypted bool) (string, error) {
		bind := "proto h2"
		if encrypted {
			bind = "ssl crt " + l.dir + "/both.pem alpn h2"
		}
		return l.haproxy(ctx, path, bind, l.origin.http)
	}},
	{"node http2", "node", "nodejs", []string{"--version"}, true, func(ctx context.Context, l *lab, path string, encrypted bool) (string, error) {
		script, err := l.file("origin-*.js", nodeOrigin)
		if err != nil {
			return "", err
		}
		addr, err := loopback.FreeAddress()
		if err != nil {
			return "", err
		}
		_, port, _ := net.SplitHostPort(addr)
		args := []string{script, port}
		if encrypted {
			args = append(args, l.certFile, l.keyFile)
		}
		return addr, l.start(ctx, addr, path, args...)
	}},
	{"net/http", "go", "golang", []string{"version"}, true, func(_ context.Context, l *lab, _ string, encrypted bool) (string, error) {
		if encrypted {
			return l.origin.h2, nil
		}
		return l.origin.h2c, nil
	}},
}

// servers checks all programs that are upstreams, in cleartext and over TLS, with clients that speak HTTP/1.1 and HTTP/2.
func (l *lab) servers(ctx context.Context) (rows []row, err error) {
	for _, encrypted := range []bool{false, true} {
		for _, s := range serverPrograms {
			r := row{peer: s.name, role: "upstream", over: target{encrypted: encrypted}.over()}
			path, err := find(s.program, s.pkg)
			if err != nil {
				rows = append(rows, r.done(nil, err))
				continue
			}
			if r.version = version(ctx, path, s.version...); s.program == "go" {
				r.version = strings.TrimPrefix(runtime.Version(), "go")
			}
			checks, err := l.checkServer(ctx, s, path, encrypted)
			rows = append(rows, r.done(checks, err))
		}
		for _, through := range []bool{false, true} {
			if through && encrypted {
				continue
			}
			rows = append(rows, l.checkGRPC(ctx, encrypted, through))
		}
	}
	return rows, nil
}

func (l *lab) checkServer(ctx context.Context, s server, path string, encrypted bool) ([]check, error) {
	addr, err := s.start(ctx, l, path, encrypted)
	if err != nil {
		return nil, err
	}
	w, err := l.wayside(ctx, false, upstreamConfig(addr, l.caFile, encrypted))
	if err != nil {
		return nil, err
	}
	var checks []check
	over1, over2 := l.curlChecks(ctx, "http://"+w.Listen, "--http1.1"), l.curlChecks(ctx, "http://"+w.Listen, priorKnowledge)
	for i, c := range over1 {
		if i < len(over2) {
			c.err = errors.Join(c.err, over2[i].err)
		}
		checks = append(checks, c)
	}
	conn, err := h2peer.Dial(ctx, w.Listen, h2peer.Options{Timeout: 30 * time.Second})
	if err != nil {
		return checks, err
	}
	defer conn.Close()
	if s.trailers {
		checks = append(checks, check{"trailers", tryTrailers(conn)})
	}
	return append(checks, check{"cancel", tryCancel(conn)}), nil
}

func upstreamConfig(addr, caFile string, encrypted bool) string {
	if encrypted {
		return fmt.Sprintf("upstreams: {one: {servers: ['https://%s'], tls: {ca_file: '%s'}}}\nroutes: [{name: all, to: one}]\n", addr, caFile)
	}
	return "upstream: h2c://" + addr + "\n"
}

func tryTrailers(conn *h2peer.Conn) error {
	s, err := conn.Open(h2peer.Fields(":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/trailers", "te", "trailers", "trailer", "x-sum"), false)
	if err != nil {
		return err
	}
	if err := s.Send("hello", false); err != nil {
		return err
	}
	s.Headers(h2peer.Fields("x-sum", "7"), true)
	r, err := s.Response()
	if err == nil && (r.Body != "5" || h2peer.Value(r.Trailers, "x-sum") != "7") {
		err = fmt.Errorf("status %d, body %q, trailers %v", r.Status, r.Body, r.Trailers)
	}
	return err
}

// tryCancel cancels a request to which the server does not respond. The connection must remain usable.
func tryCancel(conn *h2peer.Conn) error {
	s, err := conn.Open(h2peer.Fields(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/wait"), true)
	if err != nil {
		return err
	}
	time.Sleep(50 * time.Millisecond) // time for the request to reach the server
	s.Reset(http2.ErrCodeCancel)
	if s, err = conn.Open(h2peer.Fields(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/missing"), true); err != nil {
		return err
	}
	r, err := s.Response()
	if err == nil && r.Status != 404 {
		err = fmt.Errorf("then status %d", r.Status)
	}
	return err
}

// grpcCases are cases of gRPC's interoperability tests. Package test/grpc runs all of them and checks the books.
var grpcCases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "custom_metadata", "status_code_and_message", "cancel_after_first_response",
}

// checkGRPC checks a server of gRPC for Go, directly or through an nginx that wayside uses as its upstream.
func (l *lab) checkGRPC(ctx context.Context, encrypted, throughNginx bool) row {
	r := row{peer: "gRPC for Go", role: "upstream", over: target{encrypted: encrypted}.over()}
	if throughNginx {
		r.peer = "nginx (grpc_pass) to gRPC for Go"
	}
	checks, version, err := l.tryGRPC(ctx, encrypted, throughNginx)
	r.version = version
	return r.done(checks, err)
}

func (l *lab) tryGRPC(ctx context.Context, encrypted, throughNginx bool) (checks []check, version string, err error) {
	client, err1 := toolbin.Binary("grpc-interop-client", "grpc", "google.golang.org/grpc/interop/client")
	server, err2 := toolbin.Binary("grpc-interop-server", "grpc", "google.golang.org/grpc/interop/server")
	if err := errors.Join(err1, err2); err != nil {
		return nil, "", err
	}
	out, _ := output(ctx, "go", "version", "-m", server)
	if _, rest, ok := strings.Cut(out, "\tgoogle.golang.org/grpc\tv"); ok {
		version, _, _ = strings.Cut(rest, "\t")
	}
	addr, err := loopback.FreeAddress()
	if err != nil {
		return nil, version, err
	}
	_, port, _ := net.SplitHostPort(addr)
	args := []string{"-port", port}
	if encrypted {
		args = append(args, "-use_tls", "-tls_cert_file", l.certFile, "-tls_key_file", l.keyFile)
	}
	if err := l.start(ctx, addr, server, args...); err != nil {
		return nil, version, err
	}
	if throughNginx {
		nginx, err := find("nginx", "nginx-light")
		if err != nil {
			return nil, version, err
		}
		if addr, err = l.nginx(ctx, nginx, "http2", "location / { grpc_pass grpc://"+addr+"; }"); err != nil {
			return nil, version, err
		}
	}
	w, err := l.wayside(ctx, false, upstreamConfig(addr, l.caFile, encrypted))
	if err != nil {
		return nil, version, err
	}
	host, port, _ := net.SplitHostPort(w.Listen)
	for _, name := range grpcCases {
		_, err := output(ctx, client, "-test_case", name, "-server_host", host, "-server_port", port)
		checks = append(checks, check{name, err})
	}
	return checks, version, nil
}
