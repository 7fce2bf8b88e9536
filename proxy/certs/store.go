// Package certs chooses the certificate for each TLS connection, and reads certificates again when their files change.
//
// A [Store] lives as long as the listener. [Load] reads and checks files without changing anything, and [Store.Use] puts the result into
// effect for later handshakes. [Store.Reread] checks the files once. It compares contents, not modification times, because tools replace
// certificates in many ways: Kubernetes, for example, replaces a symbolic link to their folder. If a file cannot be used, the current
// certificate remains in use, and the error is logged once.
//
// Session tickets survive Use and Reread, because their keys belong to the Store. Only a new set of client CAs causes new keys: otherwise a
// client with a certificate from a removed CA could resume its session.
package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/clock"
)

// Pair names the PEM files of a certificate with its chain, and of its private key.
type Pair struct{ CertFile, KeyFile string }

// Issuer provides certificates that are not in files. Its methods are called during handshakes and must not wait.
type Issuer interface {
	// Certificate returns the certificate for a host name in lower case. If host is empty, it returns one for clients that send no name. It
	// returns nil if there is none.
	Certificate(host string) *tls.Certificate
	// Challenge returns the certificate to present when an authority validates a host with TLS-ALPN-01 (RFC 8737), or nil if no
	// validation is expected.
	Challenge(host string) *tls.Certificate
}

// Options configures which certificates are used.
type Options struct {
	// Pairs are the certificates, among which SNI selects one. The first is the default for clients that send no name or an unknown one.
	Pairs []Pair
	// ClientCAFile is a PEM file with certificate authorities. If it is not empty, each client must present a certificate that one of them
	// has signed.
	ClientCAFile string
	// HTTP2 makes the listener offer HTTP/2 to clients, in addition to HTTP/1.1.
	HTTP2 bool
	// Now is the wall clock; nil means clock.Now.
	Now func() time.Time
}

// Loaded is a set of certificates that Load has read and checked. Pass it to Use.
type Loaded struct {
	o       Options
	pairs   []pairFile
	ca      caFile
	current *set
}

// PairError is an error about a certificate or its key.
type PairError struct {
	Index int // index in Options.Pairs
	err   error
}

// Error implements error.
func (e *PairError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *PairError) Unwrap() error { return e.err }

// Load reads the files of o and checks that they can be used. The error names all files that cannot.
func Load(o Options) (*Loaded, error) {
	if o.Now == nil {
		o.Now = clock.Now
	}
	l := &Loaded{o: o, pairs: make([]pairFile, len(o.Pairs))}
	var errs []error
	for i, p := range o.Pairs {
		l.pairs[i].Pair = p
		if _, err := l.pairs[i].reread(o.Now()); err != nil {
			errs = append(errs, &PairError{i, err})
		}
	}
	if o.ClientCAFile != "" {
		l.ca.name = o.ClientCAFile
		if _, err := l.ca.reread(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	l.current = newSet(l)
	return l, nil
}

// Store contains the certificates that are in use.
type Store struct {
	log    *slog.Logger
	issuer Issuer // nil if there is none

	mu     sync.Mutex
	loaded *Loaded // guarded by mu

	current atomic.Pointer[set]
	outer   atomic.Pointer[tls.Config] // has the session ticket keys
}

// New returns a Store without certificates. The issuer may be nil.
func New(log *slog.Logger, issuer Issuer) *Store {
	s := &Store{log: log, issuer: issuer}
	s.current.Store(newSet(&Loaded{o: Options{Now: clock.Now}}))
	s.renewTicketKeys()
	return s
}

// Use puts certificates into effect.
func (s *Store) Use(l *Loaded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.use(l)
}

// use is like Use, but the caller must hold mu.
func (s *Store) use(l *Loaded) {
	before := s.current.Load()
	s.loaded = l
	s.current.Store(l.current)
	if before.caSum != l.current.caSum {
		s.renewTicketKeys()
	}
}

// renewTicketKeys makes all earlier session tickets invalid by replacing the outer tls.Config. A tls.Config creates its ticket keys when it
// is first used, replaces them every day, and decrypts tickets with them for a week.
func (s *Store) renewTicketKeys() {
	s.outer.Store(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return s.choose(hello) },
	})
}

// Config returns the configuration for a new connection. It has the session ticket keys, and chooses a certificate when the ClientHello has
// arrived.
func (s *Store) Config() *tls.Config { return s.outer.Load() }

// choose returns the configuration for one handshake.
func (s *Store) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if s.issuer != nil && slices.Contains(hello.SupportedProtos, protoChallenge) {
		return s.challenge(hello)
	}
	return s.current.Load().config(s.issuer), nil
}

// Reread checks the files once. It reports whether it has put new certificates or CAs into effect.
func (s *Store) Reread() (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.loaded
	if old == nil {
		return false
	}
	next := &Loaded{o: old.o, pairs: slices.Clone(old.pairs), ca: old.ca}
	now := old.o.Now()
	for i := range next.pairs {
		p := &next.pairs[i]
		is, err := p.reread(now)
		if p.failing.report(err) {
			s.log.Warn("cannot use a certificate's new files; keeping the current certificate", "error", err, "cert_file", p.CertFile, "key_file", p.KeyFile)
		}
		if is {
			s.log.Info("certificate reloaded", "cert_file", p.CertFile, "names", p.cert.names(), "expires", p.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
		}
		changed = changed || is
	}
	if next.ca.name != "" {
		is, err := next.ca.reread()
		if next.ca.failing.report(err) {
			s.log.Warn("cannot use the file of client CAs; keeping the current CAs", "error", err, "client_ca_file", next.ca.name)
		}
		if is {
			s.log.Info("client CAs reloaded", "client_ca_file", next.ca.name)
		}
		changed = changed || is
	}
	if !changed {
		old.pairs, old.ca = next.pairs, next.ca // they remember which errors have been reported
		return false
	}
	next.current = newSet(next)
	s.use(next)
	return true
}

// RereadInterval is the time between two checks of the files by Run.
const RereadInterval = 10 * time.Second

// Run calls Reread until ctx is done.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(RereadInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Reread()
		}
	}
}

// Expiry states when a certificate expires.
type Expiry struct {
	Name     string // the first name in the certificate
	NotAfter time.Time
}

// Expiries returns one entry for each certificate from a file.
func (s *Store) Expiries() []Expiry {
	set := s.current.Load()
	list := make([]Expiry, 0, len(set.all))
	for _, c := range set.all {
		list = append(list, Expiry{c.name(), c.Leaf.NotAfter})
	}
	return list
}
