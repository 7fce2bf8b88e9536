package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// fileBytesMax limits the size of a file. For comparison: a bundle of all public authorities is about 250 KiB.
const fileBytesMax = 4 << 20

// certificate is a certificate with its key. Its leaf has been parsed.
type certificate struct{ *tls.Certificate }

// names returns the host names and addresses in the certificate.
func (c certificate) names() []string {
	names := append([]string{}, c.Leaf.DNSNames...)
	for _, ip := range c.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// name returns the first name, for logs and metrics.
func (c certificate) name() string {
	if names := c.names(); len(names) > 0 {
		return names[0]
	}
	return c.Leaf.Subject.CommonName
}

// pairFile is a certificate and its files.
type pairFile struct {
	Pair
	sum     [sha256.Size]byte // checksum of the contents from which cert was made
	cert    certificate
	failing failure
}

// reread reads the files. It reports whether the certificate has changed. If it fails, the certificate remains unchanged.
func (p *pairFile) reread(now time.Time) (changed bool, err error) {
	certPEM, err := read(p.CertFile)
	if err != nil {
		return false, fmt.Errorf("read certificate: %w", err)
	}
	keyPEM, err := read(p.KeyFile)
	if err != nil {
		return false, fmt.Errorf("read key: %w", err)
	}
	sum := sha256.Sum256(append(append(certPEM[:len(certPEM):len(certPEM)], 0), keyPEM...))
	if p.cert.Certificate != nil && sum == p.sum {
		return false, nil
	}
	cert, err := parsePair(certPEM, keyPEM)
	if err != nil {
		return false, fmt.Errorf("certificate %s and key %s: %w", p.CertFile, p.KeyFile, err)
	}
	if err := checkTime(cert.Leaf, now); err != nil {
		return false, fmt.Errorf("certificate %s: %w", p.CertFile, err)
	}
	p.cert, p.sum = certificate{cert}, sum
	return true, nil
}

// parsePair is tls.X509KeyPair with errors that say what to do. No error contains any part of a key.
func parsePair(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	switch {
	case err == nil:
		return &cert, nil
	case !bytes.Contains(certPEM, []byte("-----BEGIN CERTIFICATE-----")):
		return nil, fmt.Errorf("the first file has no certificate in PEM format: it must begin with -----BEGIN CERTIFICATE-----")
	case bytes.Contains(keyPEM, []byte("ENCRYPTED")):
		return nil, fmt.Errorf("the key is protected by a passphrase: save it without one, readable only by wayside")
	case strings.Contains(err.Error(), "does not match"):
		return nil, fmt.Errorf("the certificate does not match the key: use the key with which the certificate was requested, and put the server's certificate first")
	}
	return nil, err
}

// checkTime refuses a certificate that clients would refuse.
func checkTime(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("it expired at %s: renew it", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("it is not valid before %s: check the clock of this machine", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// caFile is a set of certificate authorities and the file that contains them.
type caFile struct {
	name    string
	sum     [sha256.Size]byte
	pool    *x509.CertPool // nil if there is none
	failing failure
}

// reread reads the file. It reports whether the set has changed. If it fails, the set remains unchanged.
func (f *caFile) reread() (changed bool, err error) {
	b, err := read(f.name)
	if err != nil {
		return false, fmt.Errorf("read client CAs: %w", err)
	}
	sum := sha256.Sum256(b)
	if f.pool != nil && sum == f.sum {
		return false, nil
	}
	pool, err := ParseCAs(b)
	if err != nil {
		return false, fmt.Errorf("client CAs %s: %w", f.name, err)
	}
	f.pool, f.sum = pool, sum
	return true, nil
}

// ParseCAs parses certificates in PEM format. It returns an error if there are none. It also returns an error if one of them cannot
// be parsed, because clients with certificates from that CA would be refused.
func ParseCAs(b []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", n+1, err)
		}
		pool.AddCert(cert)
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("no certificate in PEM format: the file must have at least one -----BEGIN CERTIFICATE-----")
	}
	return pool, nil
}

// read reads a small file.
func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err == nil && len(b) > fileBytesMax {
		err = fmt.Errorf("%s has more than %d bytes", name, fileBytesMax)
	}
	return b, err
}

// failure decides when an error about a pair of files is reported. The two files are rarely replaced at exactly the same time, so an
// error is reported only if the next check finds it again.
type failure struct {
	seen     string
	reported bool
}

// report returns true once for each error that two consecutive checks find.
func (f *failure) report(err error) bool {
	if err == nil {
		*f = failure{}
		return false
	}
	text := err.Error()
	if f.seen != text {
		*f = failure{seen: text}
		return false
	}
	due := !f.reported
	f.reported = true
	return due
}
