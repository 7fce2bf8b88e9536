package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/bench/rig"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

// This file has the loads over HTTP/2 (-http2): h2load in place of wrk, and contestants that speak HTTP/2 with clients and HTTP/1.1 with the
// origin.

// http2Contestants are the contestants over HTTP/2, in the order of the table.
var http2Contestants = []string{"wayside", "nginx", "haproxy", "caddy", "nethttp"}

// http2Connections is the number of client connections. The streams of a load are distributed among them.
const http2Connections = 8

// nginxListen returns the argument of nginx's listen directive, and directives for the http block.
func (f *setup) nginxListen(address string) (listen, directives string) {
	if f.http2 != "" {
		address += " http2"
	}
	if !f.encrypted() {
		return address, ""
	}
	return address + " ssl", fmt.Sprintf("  ssl_protocols TLSv1.2 TLSv1.3;\n  ssl_certificate %s;\n  ssl_certificate_key %s;\n", f.files.cert, f.files.key)
}

// haproxyBind returns the argument of HAProxy's bind.
func (f *setup) haproxyBind(address string) string {
	switch {
	case f.http2 == "h2c":
		return address + " proto h2"
	case f.http2 == "h2":
		return address + " ssl crt " + f.files.both + " alpn h2"
	case f.tls:
		return address + " ssl crt " + f.files.both
	}
	return address
}

// tlsArgs returns the arguments with which wayside, nethttp and the forwarder speak TLS.
func (f *setup) tlsArgs() []string {
	if !f.encrypted() {
		return nil
	}
	return []string{"--tls-cert", f.files.cert, "--tls-key", f.files.key}
}

// startCaddy starts Caddy, without its admin listener and without an access log.
func (f *setup) startCaddy(c *contestant) error {
	binary, err := toolbin.Binary("caddy", "caddy", ".")
	if err != nil {
		return err
	}
	site, protocols, tls := "http://"+c.address, "h1 h2c", ""
	if f.encrypted() {
		site, protocols, tls = "https://"+c.address, "h1 h2", fmt.Sprintf("\ttls %s %s\n", f.files.cert, f.files.key)
	}
	file := filepath.Join(f.dir, "Caddyfile")
	text := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tservers {\n\t\tprotocols %s\n\t}\n}\n%s {\n%s\treverse_proxy %s\n}\n",
		protocols, site, tls, f.originAddr)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	env := []string{"XDG_DATA_HOME=" + f.dir, "XDG_CONFIG_HOME=" + f.dir}
	c.process, err = startProcess(c.name, f.dir, env, binary, "run", "--adapter", "caddyfile", "--config", file)
	return err
}

func (f *setup) startNetHTTP(ctx context.Context, c *contestant) error {
	binary, err := f.build(ctx, "nethttp", "github.com/wayside-proxy/wayside/test/bench/nethttp")
	if err != nil {
		return err
	}
	args := append([]string{"-listen", c.address, "-upstream", f.originAddr}, f.tlsArgs()...)
	c.process, err = startProcess(c.name, f.dir, nil, binary, args...)
	return err
}

// put puts a load on a contestant.
func (f *setup) put(ctx context.Context, c *contestant, w workload, duration time.Duration) (rig.WrkReport, error) {
	if f.http2 == "" {
		return w.run(ctx, f.dir, c.address, duration, f.clientTLS())
	}
	uris := filepath.Join(f.dir, "uris-"+c.name)
	if err := os.WriteFile(uris, []byte(http2URIs(f.http2, c.address)), 0o600); err != nil {
		return rig.WrkReport{}, err
	}
	connections := min(http2Connections, w.connections)
	return rig.H2load(ctx, uris, filepath.Join(f.dir, "h2load.log"), connections, w.connections/connections, duration)
}

// http2URIs returns URLs with the same kinds of paths as wrkScript.
func http2URIs(protocol, address string) string {
	base := map[string]string{"h2c": "http://", "h2": "https://"}[protocol] + address
	var b strings.Builder
	for i := range 250 {
		order := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", i*7919, i*31, i, i, i*104729)
		fmt.Fprintf(&b, "%[1]s/\n%[1]s/assets/app-%[2]d.js\n%[1]s/users/%[3]d\n%[1]s/users/%[3]d/orders/%[4]s\n", base, i%10, i, order)
	}
	return b.String()
}

// getHTTP2 requests a page over HTTP/2.
func getHTTP2(ctx context.Context, protocol, address, path string) ([]byte, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(protocol == "h2")
	protocols.SetUnencryptedHTTP2(protocol == "h2c")
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, map[string]string{"h2c": "http://", "h2": "https://"}[protocol]+address+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || response.ProtoMajor != 2) {
		err = fmt.Errorf("status %d over %s", response.StatusCode, response.Proto)
	}
	return body, err
}
