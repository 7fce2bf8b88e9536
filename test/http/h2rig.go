package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/h2peer"
)

// http2Clients determines how the clients of a proof speak HTTP/2.
type http2Clients struct {
	name    string // h2c, or h2: over TLS
	options h2peer.Options
	server  *tls.Config // for origins with TLS
}

// overHTTP2 runs a proof twice: with clients that speak HTTP/2 in cleartext and, unless that fails, over TLS. Each run has its own
// wayside.
func overHTTP2(ctx context.Context, r *rig, prove func(ctx context.Context, sub *rig) (string, error)) (string, error) {
	var texts []string
	for _, name := range []string{"h2c", "h2"} {
		sub := &rig{dir: filepath.Join(r.dir, name), binary: r.binary, log: r.log, uid: r.uid}
		if err := os.Mkdir(sub.dir, 0o755); err != nil {
			return "", err
		}
		if err := sub.speakHTTP2(name); err != nil {
			return "", err
		}
		text, err := prove(ctx, sub)
		texts = append(texts, name+" clients: "+text)
		if err = errors.Join(err, sub.stop()); err != nil {
			return strings.Join(texts, "; "), err
		}
		r.binary = sub.binary
	}
	return strings.Join(texts, "; "), nil
}

// speakHTTP2 makes a certificate for 127.0.0.1 and, for clients over TLS, makes wayside use it.
func (r *rig) speakHTTP2(name string) error {
	ca, err := certtest.Authority("http proofs")
	if err != nil {
		return err
	}
	leaf, err := ca.Make(certtest.Leaf{Names: []string{"127.0.0.1"}})
	if err != nil {
		return err
	}
	r.http2 = &http2Clients{name: name, server: &tls.Config{Certificates: []tls.Certificate{leaf.TLS}, MinVersion: tls.VersionTLS12}}
	if name == "h2c" {
		return nil
	}
	certFile, keyFile, err := leaf.Save(r.dir, "server")
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	r.args = append(r.args, "--tls-cert", certFile, "--tls-key", keyFile)
	r.http2.options.TLS = &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	return nil
}
