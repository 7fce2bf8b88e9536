// Package acme gets certificates from an authority that speaks ACME (RFC 8555), such as Let's Encrypt, and renews them.
//
// A [Manager] requests certificates for the configured hosts only, in the background, one after the other: never within a handshake. The
// authority validates a host by TLS-ALPN-01 on port 443 or, every other time, by HTTP-01 on port 80.
//
// # Files
//
// All of them are in one folder, with mode 0600:
//
//	account.key   the key of the account, which begins with the first request
//	HOST.pem      a key and the chain of its certificate
//	attempts.json for each host without success, how often wayside has tried and when it may try again
//
// An attempt is written down before it begins, so that a process that crashes and starts again does not exceed the authority's limits.
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

// LetsEncrypt is the directory of the authority that is used if none is configured.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

const (
	// attemptTimeout limits one attempt to get a certificate.
	attemptTimeout = 2 * time.Minute
	// firstPause and maxPause limit the time between two attempts. It doubles after each failure. Let's Encrypt allows five failures in
	// an hour for each host.
	firstPause, maxPause = 5 * time.Minute, 24 * time.Hour
	// lookInterval is the time between two looks of Run.
	lookInterval = time.Minute
)

// Options says for which hosts certificates are requested, and where.
type Options struct {
	Dir       string         // the folder; it is created when something is written
	Hosts     []string       // in lower case
	Directory string         // URL of the authority; empty: LetsEncrypt
	CAs       *x509.CertPool // trusted for Directory; nil: those of the system
	Email     string         // at which the authority can reach the operator; may be empty
	HTTP      bool           // HTTP-01 is possible: somebody answers on port 80 with HTTPChallenge
	Logger    *slog.Logger
	Now       func() time.Time // nil: clock.Now
}

// Manager has the certificates of the hosts.
type Manager struct {
	mu       sync.Mutex
	o        Options                     // guarded by mu
	certs    map[string]*tls.Certificate // guarded by mu; by host
	attempts map[string]attempt          // guarded by mu; by host
	tokens   map[string]string           // guarded by mu; responses of HTTP-01 by token
	proofs   map[string]*tls.Certificate // guarded by mu; certificates of TLS-ALPN-01 by host
	changed  chan struct{}               // receives a value when Use has changed the options

	requesting sync.Mutex // held by RenewOnce
}

// New reads the certificates of earlier runs. It does not connect to the authority.
func New(o Options) *Manager {
	m := &Manager{
		certs: make(map[string]*tls.Certificate), tokens: make(map[string]string), proofs: make(map[string]*tls.Certificate), changed: make(chan struct{}, 1),
	}
	m.attempts = readAttempts(filepath.Join(o.Dir, attemptsFile))
	m.Use(o)
	return m
}

// Use replaces the options. Certificates of hosts that are still configured stay.
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
			o.Logger.Warn("a certificate of an earlier run cannot be used; requesting another one", "host", host, "error", err)
		}
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Certificate returns the certificate of a host, or that of the first host that has one if host is empty; nil: there is none yet.
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

// Challenge returns the certificate with which a host answers a validation by TLS-ALPN-01; nil: none is expected.
func (m *Manager) Challenge(host string) *tls.Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proofs[host]
}

// HTTPChallenge returns the response to a validation by HTTP-01.
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

// RenewOnce requests a certificate for each host that needs one and for which the pause after a failure is over.
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

// due reports whether a certificate must be requested now.
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

// renewAt is when two thirds of a certificate's life are over, a little later for some hosts, so that they do not all come at once.
func renewAt(leaf *x509.Certificate, host string) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	h := fnv.New32a()
	_, _ = h.Write([]byte(host))
	return leaf.NotBefore.Add(life*2/3 + life/30*time.Duration(h.Sum32()%1000)/1000)
}

// renew makes one attempt.
func (m *Manager) renew(ctx context.Context, host string) {
	m.mu.Lock()
	o, a := m.o, m.attempts[host].next(m.o.Now())
	m.mu.Unlock()
	if err := m.noteAttempt(o, host, &a); err != nil {
		o.Logger.Error("cannot write down an attempt to get a certificate, so wayside makes none", "host", host, "error", err)
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
		o.Logger.Error("no certificate from the authority; trying again later", "host", host, "directory", o.Directory, "error", err,
			"attempts", a.Failures, "next_attempt", a.NotBefore.UTC().Format(time.RFC3339))
		return
	}
	m.mu.Lock()
	m.certs[host] = cert
	m.mu.Unlock()
	if err := m.noteAttempt(o, host, nil); err != nil {
		o.Logger.Warn("cannot write down that a certificate was issued", "host", host, "error", err)
	}
	o.Logger.Info("certificate issued", "host", host, "directory", o.Directory, "expires", cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
}
