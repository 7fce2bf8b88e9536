package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/bench/rig"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

// The code in this file is for loads over HTTP/2 (-http2): h2load instead of wrk, and contestants that speak HTTP/2 with clients and
// HTTP/1.1 with the origin.

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

// tlsArgs returns the arguments with which wayside and the programs of this repository speak TLS.
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
	protocols, tls := "h1 h2c", ""
	if f.encrypted() {
		protocols, tls = "h1 h2", fmt.Sprintf("\ttls %s %s\n", f.files.cert, f.files.key)
	}
	file := filepath.Join(f.dir, "Caddyfile")
	text := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tservers {\n\t\tprotocols %s\n\t}\n}\n%s {\n%s\treverse_proxy %s\n}\n",
		protocols, f.scheme()+c.address, tls, f.originAddr)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	env := []string{"XDG_DATA_HOME=" + f.dir, "XDG_CONFIG_HOME=" + f.dir}
	c.process, err = startProcess(c.name, f.dir, env, binary, "run", "--adapter", "caddyfile", "--config", file)
	return err
}

// put puts a load on a contestant.
func (f *setup) put(ctx context.Context, c *contestant, w workload, duration time.Duration) (rig.WrkReport, error) {
	if f.http2 == "" {
		return w.run(ctx, f.dir, c.address, duration, f.clientTLS())
	}
	uris := filepath.Join(f.dir, "uris-"+c.name)
	if err := os.WriteFile(uris, []byte(http2URIs(f.scheme()+c.address)), 0o600); err != nil {
		return rig.WrkReport{}, err
	}
	connections := min(http2Connections, w.connections)
	return rig.H2load(ctx, uris, filepath.Join(f.dir, "h2load.log"), connections, w.connections/connections, duration)
}

// http2URIs returns URLs with the same kinds of paths as in wrkScript.
func http2URIs(base string) string {
	var b strings.Builder
	for i := range 250 {
		order := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", i*7919, i*31, i, i, i*104729)
		fmt.Fprintf(&b, "%[1]s/\n%[1]s/assets/app-%[2]d.js\n%[1]s/users/%[3]d\n%[1]s/users/%[3]d/orders/%[4]s\n", base, i%10, i, order)
	}
	return b.String()
}

// transport requests pages as the clients of the loads do.
func (o *options) transport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(o.http2 == "")
	protocols.SetHTTP2(o.http2 == "h2")
	protocols.SetUnencryptedHTTP2(o.http2 == "h2c")
	return &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
}
