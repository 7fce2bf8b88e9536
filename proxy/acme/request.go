package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/acme"
)

// request obtains a certificate for a host.
func (m *Manager) request(ctx context.Context, o Options, host string, attempt int) (*tls.Certificate, error) {
	client, err := m.client(ctx, o)
	if err != nil {
		return nil, err
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(host))
	if err != nil {
		return nil, fmt.Errorf("order a certificate: %w", err)
	}
	for _, url := range order.AuthzURLs {
		if err := m.validate(ctx, client, o, url, host, attempt); err != nil {
			return nil, err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("wait for the order: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{host}}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, fmt.Errorf("finalize the order: %w", err)
	}
	return keep(o.Dir, host, key, chain)
}

// client returns a client with an account.
func (m *Manager) client(ctx context.Context, o Options) (*acme.Client, error) {
	key, err := accountKey(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("read the account's key: %w", err)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: o.CAs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	client := &acme.Client{
		Key: key, DirectoryURL: o.Directory, UserAgent: "wayside", HTTPClient: &http.Client{Transport: transport, Timeout: 30 * time.Second},
		RetryBackoff: func(n int, _ *http.Request, _ *http.Response) time.Duration { // for bad nonces and 5xx; other errors end the attempt
			if n > 3 {
				return -1
			}
			return time.Second
		},
	}
	account := &acme.Account{}
	if o.Email != "" {
		account.Contact = []string{"mailto:" + o.Email}
	}
	if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, fmt.Errorf("register with the authority: %w", err)
	}
	return client, nil
}

// validate proves to the authority that this process controls a host.
func (m *Manager) validate(ctx context.Context, client *acme.Client, o Options, url, host string, attempt int) error {
	z, err := client.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("read the authorization: %w", err)
	}
	if z.Status == acme.StatusValid {
		return nil
	}
	if z.Identifier.Value != host {
		return fmt.Errorf("the authority wants to validate %q instead of %q", z.Identifier.Value, host)
	}
	challenge := choose(z.Challenges, o.HTTP, attempt)
	if challenge == nil {
		return errors.New("the authority offers neither tls-alpn-01 nor http-01")
	}
	withdraw, err := m.answer(client, challenge, host)
	if err != nil {
		return err
	}
	defer withdraw()
	if _, err := client.Accept(ctx, challenge); err != nil {
		return fmt.Errorf("accept %s: %w", challenge.Type, err)
	}
	if _, err := client.WaitAuthorization(ctx, z.URI); err != nil {
		return fmt.Errorf("validation by %s: %w", challenge.Type, err)
	}
	return nil
}

// choose returns one of the offered challenges. The first attempt uses TLS-ALPN-01, because the TLS listener always exists.
func choose(offered []*acme.Challenge, http bool, attempt int) *acme.Challenge {
	order := []string{"tls-alpn-01", "http-01"}
	if attempt%2 == 0 {
		slices.Reverse(order)
	}
	for _, kind := range order {
		if i := slices.IndexFunc(offered, func(c *acme.Challenge) bool { return c.Type == kind }); i >= 0 && (kind != "http-01" || http) {
			return offered[i]
		}
	}
	return nil
}

// answer makes the response to a challenge available to the authority until withdraw is called.
func (m *Manager) answer(client *acme.Client, challenge *acme.Challenge, host string) (withdraw func(), err error) {
	if challenge.Type == "http-01" {
		response, err := client.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return nil, err
		}
		m.mu.Lock()
		m.tokens[challenge.Token] = response
		m.mu.Unlock()
		return func() { m.mu.Lock(); delete(m.tokens, challenge.Token); m.mu.Unlock() }, nil
	}
	proof, err := client.TLSALPN01ChallengeCert(challenge.Token, host)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.proofs[host] = &proof
	m.mu.Unlock()
	return func() { m.mu.Lock(); delete(m.proofs, host); m.mu.Unlock() }, nil
}

// retryAfter returns how long the authority wants wayside to wait before the next request, or 0 if it did not state a time.
func retryAfter(err error) time.Duration {
	var e *acme.Error
	if errors.As(err, &e) {
		if wait, limited := acme.RateLimit(e); limited {
			return max(wait, time.Hour)
		}
	}
	return 0
}
