// Package certtest creates certificate authorities and certificates for tests.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is a certificate authority.
type CA struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// Leaf describes the certificate to issue. Names may include addresses.
type Leaf struct {
	Names     []string
	URIs      []string
	Common    string        // the subject's common name
	NotBefore time.Time     // default: an hour ago
	For       time.Duration // how long the certificate is valid, from NotBefore; default: a day
	RSA       bool
	Client    bool // the certificate is for clients instead of servers
}

// Issued is a certificate with its key.
type Issued struct {
	CertPEM, KeyPEM []byte
	TLS             tls.Certificate
}

// NewCA creates an authority that is valid for a day.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	ca, err := Authority(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// Authority creates an authority that is valid for a day.
func Authority(name string) (*CA, error) {
	key, number, err := newKey(false)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &CA{cert, key}, err
}

// PEM returns the authority's certificate.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})
}

// Pool returns a pool that contains only this authority.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// Issue issues a certificate, for tests.
func (ca *CA) Issue(t testing.TB, l Leaf) *Issued {
	t.Helper()
	i, err := ca.Make(l)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Make issues a certificate, for programs that are not tests.
func (ca *CA) Make(l Leaf) (*Issued, error) {
	if l.NotBefore.IsZero() {
		l.NotBefore = time.Now().Add(-time.Hour)
	}
	if l.For == 0 {
		l.For = 24 * time.Hour
	}
	usage := x509.ExtKeyUsageServerAuth
	if l.Client {
		usage = x509.ExtKeyUsageClientAuth
	}
	key, number, err := newKey(l.RSA)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: l.Common}, NotBefore: l.NotBefore, NotAfter: l.NotBefore.Add(l.For),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	for _, name := range l.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	for _, text := range l.URIs {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	i := &Issued{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	i.TLS, err = tls.X509KeyPair(i.CertPEM, i.KeyPEM)
	return i, err
}

// Write writes dir/name.crt and dir/name.key, each atomically, and returns their names.
func (i *Issued) Write(t testing.TB, dir, name string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, err := i.Save(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// Save writes dir/name.crt and dir/name.key, each atomically, and returns their names.
func (i *Issued) Save(dir, name string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	return certFile, keyFile, errors.Join(replace(certFile, i.CertPEM), replace(keyFile, i.KeyPEM))
}

// WriteFile replaces a file atomically.
func WriteFile(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := replace(name, content); err != nil {
		t.Fatal(err)
	}
}

func replace(name string, content []byte) error {
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// newKey makes a key, and a serial number for its certificate.
func newKey(useRSA bool) (key crypto.Signer, serial *big.Int, err error) {
	if useRSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	serial, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return key, serial, err
}
