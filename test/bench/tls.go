package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"

	"github.com/wayside-proxy/wayside/internal/certtest"
)

// The code in this file is for loads over TLS with HTTP/1.1 (-tls): new connections at a constant rate, each for one request, and
// connections that stay open.

// tlsContestants are the contestants over TLS, in the order of the table.
var tlsContestants = []string{"wayside", "exchange", "forwarder", "nginx", "haproxy", "caddy", "nethttp"}

// certFiles are the files of a certificate for 127.0.0.1 with an ECDSA P-256 key: certificate, key, and both in one.
type certFiles struct {
	cert, key, both string
	authority       *x509.CertPool // issued the certificate
}

func (f *setup) makeCertificate() error {
	ca, err := certtest.Authority("bench")
	if err != nil {
		return err
	}
	leaf, err := ca.Make(certtest.Leaf{Names: []string{"127.0.0.1"}})
	if err != nil {
		return err
	}
	f.files.authority = ca.Pool()
	if f.files.cert, f.files.key, err = leaf.Save(f.dir, "server"); err != nil {
		return err
	}
	f.files.both = filepath.Join(f.dir, "both.pem")
	return os.WriteFile(f.files.both, append(append([]byte{}, leaf.CertPEM...), leaf.KeyPEM...), 0o600)
}

// encrypted reports whether the clients use TLS.
func (o *options) encrypted() bool { return o.tls || o.http2 == "h2" }

// scheme returns the beginning of the contestants' URLs.
func (o *options) scheme() string {
	if o.encrypted() {
		return "https://"
	}
	return "http://"
}

// speakTLS checks -tls and sets the defaults of -loads and -only that belong to it.
func (o *options) speakTLS(flags *flag.FlagSet, loads, only *string) error {
	if !o.tls {
		return nil
	}
	if o.http2 != "" || o.idling() {
		return errors.New("-tls is for loads over HTTP/1.1: it excludes -http2, -idle and -idle-conns")
	}
	setUnlessGiven(flags, loads, only, "500/new,full/64", tlsContestants)
	return nil
}

// clientTLS returns the configuration of the clients, or nil if they do not use TLS. With this configuration, all contestants use the
// same version, key exchange and cipher. Sessions are not resumed, so every handshake is a full one.
func (f *setup) clientTLS() *tls.Config {
	if !f.tls {
		return nil
	}
	return &tls.Config{
		RootCAs: f.files.authority, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
	}
}

// freshConnections reports whether one of the loads makes a new connection for each request.
func freshConnections(loads []workload) bool {
	return slices.ContainsFunc(loads, func(w workload) bool { return w.fresh })
}
