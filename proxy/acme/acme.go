// Package acme obtains certificates from an authority that supports ACME (RFC 8555), such as Let's Encrypt, and renews them.
//
// A [Manager] requests certificates for the configured hosts only, in the background, one after another, and never during a handshake. The
// authority validates a host with TLS-ALPN-01 on port 443 or, on every second attempt, with HTTP-01 on port 80.
//
// # Files
//
// All of them are in one folder, with mode 0600:
//
//	account.key   the account's key, created for the first request
//	HOST.pem      a key and the chain of its certificate
//	attempts.json for each host whose last attempt has not succeeded: the number of attempts, and the earliest time of the next one
//
// An attempt is recorded before it begins, so that a process that keeps crashing and restarting does not exceed the authority's rate limits.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/clock"
)

// LetsEncrypt is the directory URL of the authority that is used if none is configured.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

const (
	// attemptTimeout limits one attempt to obtain a certificate.
	attemptTimeout = 2 * time.Minute
	// firstPause and maxPause are the shortest and the longest pause between two attempts. The pause doubles after each failure. Let's
	// Encrypt allows five failures per hour and host.
	firstPause, maxPause = 5 * time.Minute, 24 * time.Hour
	// lookInterval is the time between two checks by Run.
	lookInterval = time.Minute
)

// Options configures for which hosts certificates are requested, and from which authority.
type Options struct {
	Dir       string         // the folder for all files; created when the first one is written
	Hosts     []string       // in lower case
	Directory string         // URL of the authority's directory; empty means LetsEncrypt
	CAs       *x509.CertPool // CAs trusted for Directory; nil means the system's
	Email     string         // address at which the authority can reach the operator; may be empty
	HTTP      bool           // HTTPChallenge is served on port 80, so HTTP-01 is possible
	Logger    *slog.Logger
	Now       func() time.Time // nil means clock.Now
}

// Manager obtains and keeps the certificates of the configured hosts.
type Manager struct {
	mu       sync.Mutex
	o        Options                     // guarded by mu
	certs    map[string]*tls.Certificate // guarded by mu; by host
	attempts map[string]attempt          // guarded by mu; by host
	tokens   map[string]string           // guarded by mu; responses for HTTP-01, by token
	proofs   map[string]*tls.Certificate // guarded by mu; certificates for TLS-ALPN-01, by host
	changed  chan struct{}               // receives a value when Use has changed the options

	requesting sync.Mutex // held by RenewOnce
}

// New returns a Manager with the certificates that earlier runs obtained. It does not connect to the authority.
func New(o Options) *Manager {
	m := &Manager{
		certs: make(map[string]*tls.Certificate), tokens: make(map[string]string), proofs: make(map[string]*tls.Certificate), changed: make(chan struct{}, 1),
	}
	m.attempts = readAttempts(filepath.Join(o.Dir, attemptsFile))
	m.Use(o)
	return m
}

// Use replaces the options. Hosts that are still configured keep their certificates.
func (m *Manager) Use(o Options) {
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Directory == "" {
		o.Directory = LetsEncrypt
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.o = o
	for host := range m.certs {
		if !slices.Contains(o.Hosts, host) {
			delete(m.certs, host)
		}
	}
	for _, host := range o.Hosts {
		if m.certs[host] != nil {
			continue
		}
		cert, err := readCertificate(filepath.Join(o.Dir, host+".pem"))
		switch {
		case err == nil:
			m.certs[host] = cert
		case !os.IsNotExist(err):
			o.Logger.Warn("cannot use a certificate from an earlier run; requesting another one", "host", host, "error", err)
		}
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Certificate returns the certificate of a host. If host is empty, it returns the certificate of the first host that has one. If there is
// no certificate yet, it returns nil.
func (m *Manager) Certificate(host string) *tls.Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	if host != "" {
		return m.certs[host]
	}
	for _, first := range m.o.Hosts {
		if c := m.certs[first]; c != nil {
			return c
		}
	}
	return nil
}

// Expiries returns when the certificate of each host expires.
func (m *Manager) Expiries() map[string]time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make(map[string]time.Time, len(m.certs))
	for host, c := range m.certs {
		list[host] = c.Leaf.NotAfter
	}
	return list
}

// Challenge returns the certificate to present when the authority validates a host with TLS-ALPN-01, or nil if no validation is expected.
func (m *Manager) Challenge(host string) *tls.Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proofs[host]
}

// HTTPChallenge returns the response to send when the authority validates a host with HTTP-01.
func (m *Manager) HTTPChallenge(token string) (response string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	response, ok = m.tokens[token]
	return response, ok
}

// Run calls RenewOnce until ctx is done.
func (m *Manager) Run(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		m.RenewOnce(ctx)
		select {
		case <-ctx.Done():
			return
		case <-m.changed:
		case <-tick.C:
		}
	}
}

// RenewOnce requests a certificate for each host that needs one, except for hosts whose pause after a failure is not over.
func (m *Manager) RenewOnce(ctx context.Context) {
	m.requesting.Lock()
	defer m.requesting.Unlock()
	m.mu.Lock()
	hosts := slices.Clone(m.o.Hosts)
	m.mu.Unlock()
	for _, host := range hosts {
		if ctx.Err() != nil {
			return
		}
		if m.due(host) {
			m.renew(ctx, host)
		}
	}
}

// due reports whether a certificate for a host must be requested now.
func (m *Manager) due(host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.o.Now()
	if a, failed := m.attempts[host]; failed && now.Before(a.NotBefore) {
		return false
	}
	c := m.certs[host]
	return c == nil || !now.Before(renewAt(c.Leaf, host))
}

// renewAt returns when to renew a certificate: after two thirds of its lifetime, plus a delay. The delay differs between hosts, because
// otherwise all of them would be renewed at the same time.
func renewAt(leaf *x509.Certificate, host string) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	h := fnv.New32a()
	_, _ = h.Write([]byte(host))
	return leaf.NotBefore.Add(life*2/3 + life/30*time.Duration(h.Sum32()%1000)/1000)
}

// renew attempts once to obtain a certificate for a host.
func (m *Manager) renew(ctx context.Context, host string) {
	m.mu.Lock()
	o, a := m.o, m.attempts[host].next(m.o.Now())
	m.mu.Unlock()
	if err := m.noteAttempt(o, host, &a); err != nil {
		o.Logger.Error("not requesting a certificate, because wayside cannot record the attempt; it will try again later",
			"host", host, "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	cert, err := m.request(ctx, o, host, a.Failures)
	if err != nil {
		if wait := retryAfter(err); wait > 0 && o.Now().Add(wait).After(a.NotBefore) {
			a.NotBefore = o.Now().Add(wait)
			_ = m.noteAttempt(o, host, &a)
		}
		o.Logger.Error("cannot obtain a certificate from the authority; wayside will try again later", "host", host, "directory", o.Directory, "error", err,
			"attempts", a.Failures, "next_attempt", a.NotBefore.UTC().Format(time.RFC3339))
		return
	}
	m.mu.Lock()
	m.certs[host] = cert
	m.mu.Unlock()
	if err := m.noteAttempt(o, host, nil); err != nil {
		o.Logger.Warn("cannot record that a certificate was issued; the certificate is used nevertheless", "host", host, "error", err)
	}
	o.Logger.Info("certificate issued", "host", host, "directory", o.Directory, "expires", cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
}
