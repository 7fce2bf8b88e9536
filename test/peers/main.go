// Command peers checks that wayside and other programs understand each other over HTTP/2, with the real binary:
//
//	go run ./test/peers
//
// Clients (curl, nghttp, h2load, node, python3-h2, Chromium, and HAProxy and nginx as proxies in front) use wayside in cleartext and over TLS. Servers
// (nginx, HAProxy, node, net/http and gRPC for Go) are upstreams in cleartext and over TLS. The command prints a table with the result for
// each, and writes it to docs/evidence/http2-peers.md. If a program is not installed, its row says NOT RUN. The exit code is 1 if a check
// failed or a program is missing.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

func main() {
	evidence := flag.String("evidence", "docs/evidence/http2-peers.md", "file to which the table is written; empty: none")
	verbose := flag.Bool("v", false, "show wayside's log")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	table, err := run(ctx, *verbose)
	fmt.Print(table)
	if table != "" && *evidence != "" {
		err = errors.Join(err, os.WriteFile(*evidence, []byte(evidenceHead+table), 0o644))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

const evidenceHead = `# Evidence: HTTP/2 with other programs

` + "`go run ./test/peers`" + ` runs these checks and writes this page. A client, or a proxy in front, sends requests to wayside over
HTTP/2, and wayside forwards them to an HTTP/1.1 application. An upstream receives requests from wayside over HTTP/2;
its checks are run with HTTP/1.1 clients and with HTTP/2 clients.

`

// lab holds everything that all checks share.
type lab struct {
	dir               string
	binary            string
	log               io.Writer
	certFile, keyFile string // a certificate for 127.0.0.1
	caFile            string
	server            *tls.Config
	origin            *origin
	large             string // file with the body of /large
	running           []func()
}

func run(ctx context.Context, verbose bool) (table string, err error) {
	dir, err := os.MkdirTemp("", "wayside-peers-")
	if err != nil {
		return "", err
	}
	l := &lab{dir: dir, log: io.Discard}
	defer func() {
		for i := len(l.running) - 1; i >= 0; i-- {
			l.running[i]()
		}
		_ = os.RemoveAll(dir)
	}()
	if verbose {
		l.log = os.Stderr
	}
	if err := l.prepare(ctx); err != nil {
		return "", err
	}
	var rows []row
	for _, step := range []func(context.Context) ([]row, error){l.clients, l.servers} {
		more, err := step(ctx)
		rows = append(rows, more...)
		if err != nil {
			return format(rows), err
		}
	}
	for _, r := range rows {
		if r.problem != nil {
			err = errors.Join(err, fmt.Errorf("%s (%s): %w", r.peer, r.over, r.problem))
		}
	}
	return format(rows), err
}

func (l *lab) prepare(ctx context.Context) (err error) {
	if l.binary, err = e2e.Build(ctx, l.dir); err != nil {
		return err
	}
	ca, err := certtest.Authority("peers")
	if err != nil {
		return err
	}
	leaf, err := ca.Make(certtest.Leaf{Names: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		return err
	}
	if l.certFile, l.keyFile, err = leaf.Save(l.dir, "server"); err != nil {
		return err
	}
	l.server = &tls.Config{Certificates: []tls.Certificate{leaf.TLS}, MinVersion: tls.VersionTLS12}
	l.caFile, l.large = filepath.Join(l.dir, "ca.pem"), filepath.Join(l.dir, "large")
	both := filepath.Join(l.dir, "both.pem") // HAProxy needs both in one file
	if err := errors.Join(os.WriteFile(l.caFile, ca.PEM(), 0o644), os.WriteFile(l.large, []byte(large), 0o644),
		os.WriteFile(both, append(append([]byte{}, leaf.CertPEM...), leaf.KeyPEM...), 0o600)); err != nil {
		return err
	}
	l.origin = newOrigin()
	return l.origin.listen(l)
}

// wayside starts a wayside with these lines of configuration.
func (l *lab) wayside(ctx context.Context, encrypted bool, config string) (*e2e.Wayside, error) {
	listen, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(l.dir, "wayside-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "wayside.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	args := []string{"--config", file}
	if encrypted {
		args = append(args, "--tls-cert", l.certFile, "--tls-key", l.keyFile)
	}
	w := &e2e.Wayside{Binary: l.binary, DataDir: filepath.Join(dir, "data"), Listen: listen, Args: args, Log: l.log}
	if err := w.Start(ctx); err != nil {
		return nil, err
	}
	l.running = append(l.running, func() { _ = w.Stop(40 * time.Second) })
	return w, nil
}

// errNotRun is wrapped if a program is missing.
var errNotRun = errors.New("NOT RUN")

// row is a row of the table.
type row struct {
	peer, version, role, over string
	checks                    []check
	problem                   error
}

// check is the result of one check.
type check struct {
	name string
	err  error
}

// done completes a row.
func (r row) done(checks []check, err error) row {
	r.checks, r.problem = checks, err
	for _, c := range checks {
		if c.err != nil {
			r.problem = errors.Join(r.problem, fmt.Errorf("%s: %w", c.name, c.err))
		}
	}
	return r
}

func format(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Run at %s UTC on commit %s.\n\n| program | version | role | over | checks | result |\n|---|---|---|---|---|---|\n",
		time.Now().UTC().Format("2006-01-02 15:04"), e2e.Commit())
	for _, r := range rows {
		var names []string
		for _, c := range r.checks {
			names = append(names, c.name)
		}
		result := fmt.Sprintf("all %d passed", len(r.checks))
		if r.problem != nil {
			result = strings.ReplaceAll(r.problem.Error(), "\n", "; ")
			if !errors.Is(r.problem, errNotRun) {
				result = "FAILED: " + result
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.peer, r.version, r.role, r.over, strings.Join(names, ", "), strings.ReplaceAll(result, "|", "/"))
	}
	return b.String()
}
