package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// protoChallenge is the ALPN protocol that an authority uses to validate a host with TLS-ALPN-01 (RFC 8737).
const protoChallenge = "acme-tls/1"

// ProtocolHTTP2 is the name of HTTP/2 in ALPN (RFC 9113, section 3.2).
const ProtocolHTTP2 = "h2"

// protocols returns the protocols to offer in ALPN, in order of preference.
func (o *Options) protocols() []string {
	if o.HTTP2 {
		return []string{ProtocolHTTP2, "http/1.1"}
	}
	return []string{"http/1.1"}
}

// suites are the cipher suites for TLS 1.2; those for TLS 1.3 cannot be configured. Go's default still includes some with CBC, which
// security scanners report as weak.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// set is an immutable set of certificates that can be looked up by name.
type set struct {
	all    []certificate            // the first is the default
	byName map[string][]certificate // names in lower case, including wildcard names
	base   *tls.Config              // configuration without certificates
	caSum  [sha256.Size]byte        // checksum of the file of client CAs; zero if there is none
}

func newSet(l *Loaded) *set {
	s := &set{byName: make(map[string][]certificate), caSum: l.ca.sum}
	for i := range l.pairs {
		c := l.pairs[i].cert
		s.all = append(s.all, c)
		for _, name := range c.Leaf.DNSNames {
			name = strings.ToLower(name)
			s.byName[name] = append(s.byName[name], c)
		}
	}
	s.base = &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: suites, NextProtos: l.o.protocols(), Time: l.o.Now}
	if cas, now := l.ca.pool, l.o.Now; cas != nil {
		s.base.ClientAuth, s.base.ClientCAs = tls.RequireAndVerifyClientCert, cas
		s.base.VerifyConnection = func(state tls.ConnectionState) error { return verifyClient(state, cas, now()) }
	}
	return s
}

// config returns the configuration for one handshake. If there is no certificate, crypto/tls sends the alert unrecognized_name.
func (s *set) config(issuer Issuer) *tls.Config {
	c := s.base.Clone()
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return s.find(issuer, hello), nil }
	return c
}

// find returns the certificate for a handshake. It uses the first of these that exists: the certificate for the name, the one for the wildcard
// above it, the issuer's, or the default.
func (s *set) find(issuer Issuer, hello *tls.ClientHelloInfo) *tls.Certificate {
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if c := supported(s.byName[name], hello); c != nil {
		return c
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if c := supported(s.byName["*."+parent], hello); c != nil {
			return c
		}
	}
	if issuer != nil {
		if c := issuer.Certificate(name); c != nil {
			return c
		}
	}
	if len(s.all) > 0 {
		return s.all[0].Certificate
	}
	if issuer != nil {
		return issuer.Certificate("")
	}
	return nil
}

// supported returns the first certificate that the client supports. If the client supports none of them, supported returns the first one,
// so that the client learns why the handshake fails. A name may have one certificate with an RSA key and one with an ECDSA key.
func supported(of []certificate, hello *tls.ClientHelloInfo) *tls.Certificate {
	for _, c := range of {
		if hello.SupportsCertificate(c.Certificate) == nil {
			return c.Certificate
		}
	}
	if len(of) > 0 {
		return of[0].Certificate
	}
	return nil
}

// verifyClient checks the client's certificate again when a session is resumed. crypto/tls verifies certificates only for new sessions, but
// the certificate may have expired since then, or its CA may have been removed.
func verifyClient(state tls.ConnectionState, cas *x509.CertPool, now time.Time) error {
	if !state.DidResume {
		return nil
	}
	if len(state.PeerCertificates) == 0 {
		return errors.New("the resumed session has no client certificate")
	}
	o := x509.VerifyOptions{Roots: cas, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, c := range state.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(o); err != nil {
		return fmt.Errorf("the client certificate of the resumed session: %w", err)
	}
	return nil
}

// challenge returns the configuration for a handshake in which the authority validates a host with TLS-ALPN-01. It does not require a
// client certificate, because the client is the authority.
func (s *Store) challenge(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	cert := s.issuer.Challenge(strings.TrimSuffix(strings.ToLower(hello.ServerName), "."))
	if cert == nil {
		return nil, errNoChallenge
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}, NextProtos: []string{protoChallenge}, SessionTicketsDisabled: true,
	}, nil
}

var errNoChallenge = errors.New("no validation by TLS-ALPN-01 is expected for this name")

// IsChallenge reports whether a connection was opened only to validate a host with TLS-ALPN-01. Such a connection carries no requests.
func IsChallenge(state tls.ConnectionState) bool { return state.NegotiatedProtocol == protoChallenge }

// ClientName returns the client's name from its verified certificate, or "" if it has none. The name is the first of these that exists: the
// first DNS name, the first URI, the first e-mail address, the subject's common name. A name with control characters counts as missing.
func ClientName(state tls.ConnectionState) string {
	if len(state.VerifiedChains) == 0 && !state.DidResume || len(state.PeerCertificates) == 0 {
		return ""
	}
	c := state.PeerCertificates[0]
	name := c.Subject.CommonName
	switch {
	case len(c.DNSNames) > 0:
		name = c.DNSNames[0]
	case len(c.URIs) > 0:
		name = c.URIs[0].String()
	case len(c.EmailAddresses) > 0:
		name = c.EmailAddresses[0]
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ""
	}
	return strings.TrimSpace(name)
}
