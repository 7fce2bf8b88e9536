package acme

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/internal/disk"
)

const (
	accountFile  = "account.key"
	attemptsFile = "attempts.json"
)

// attempt is the recorded state of a host whose last attempt failed or has not ended.
type attempt struct {
	Failures  int       `json:"attempts"`
	NotBefore time.Time `json:"not_before"` // earliest time of the next attempt
}

// next returns the state to record before another attempt. The state remains recorded if that attempt fails.
func (a attempt) next(now time.Time) attempt {
	pause := firstPause
	for range a.Failures {
		pause = min(2*pause, maxPause)
	}
	return attempt{Failures: a.Failures + 1, NotBefore: now.Add(pause)}
}

// readAttempts reads the state from earlier runs. A file that cannot be read counts as missing.
func readAttempts(name string) map[string]attempt {
	state := make(map[string]attempt)
	if b, err := os.ReadFile(name); err == nil {
		_ = json.Unmarshal(b, &state)
	}
	return state
}

// noteAttempt records the state of a host so that it survives a power loss. If a is nil, the last attempt has succeeded.
func (m *Manager) noteAttempt(o Options, host string, a *attempt) error {
	m.mu.Lock()
	if a != nil {
		m.attempts[host] = *a
	} else {
		delete(m.attempts, host)
	}
	b, err := json.Marshal(m.attempts)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return write(o.Dir, attemptsFile, b)
}

// write replaces a file in the folder so that the new content survives a power loss.
func write(dir, name string, content []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return disk.WriteFile(filepath.Join(dir, name), filepath.Join(dir, name+".tmp"), bytes.NewReader(content), 0o600)
}

// accountKey reads the account's key, or creates one if there is none.
func accountKey(dir string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(filepath.Join(dir, accountFile))
	if err == nil {
		block, _ := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("%s is not in PEM format: remove it to begin with a new account", filepath.Join(dir, accountFile))
		}
		return x509.ParseECPrivateKey(block.Bytes)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	return key, write(dir, accountFile, text)
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// readCertificate reads a key and its chain from one file.
func readCertificate(name string) (*tls.Certificate, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &cert, nil
}

// keep writes a new certificate to its file and returns the certificate.
func keep(dir, host string, key *ecdsa.PrivateKey, chain [][]byte) (*tls.Certificate, error) {
	text, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	if err := cert.Leaf.VerifyHostname(host); err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	return &cert, write(dir, host+".pem", text)
}
