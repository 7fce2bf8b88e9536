package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// TLS configures how connections to the servers of a group are encrypted and verified.
type TLS struct {
	// CAFile is a PEM file with the certificates of the trusted authorities. If it is empty, the system's authorities are trusted.
	CAFile string
	// CertFile and KeyFile are the PEM files with the client certificate and its key, for servers that request a certificate. They may be
	// empty.
	CertFile, KeyFile string
	// ServerName is the name that is sent to each server (SNI) and that the server's certificate must have. If it is empty, the name is the
	// host in the server's URL.
	ServerName string
	// Insecure accepts any certificate. Anyone between wayside and the server can then read and change everything.
	Insecure bool
}

// sessionsKept is the number of sessions of one group that can be resumed.
const sessionsKept = 64

// Credentials are the contents of the files that a [TLS] names. Any goroutine may call its methods.
type Credentials struct {
	o       TLS
	current atomic.Pointer[tls.Config]

	mu   sync.Mutex // held while the files are being read
	read [3][]byte  // the contents of the files from which current was made
}

// NewCredentials reads the files. An error names the file and says what is wrong with it.
func NewCredentials(o TLS) (*Credentials, error) {
	c := &Credentials{o: o}
	_, err := c.Refresh()
	return c, err
}

// HasFiles reports whether there is a file to read again.
func (c *Credentials) HasFiles() bool { return c.o.CAFile != "" || c.o.CertFile != "" }

// Refresh reads the files again, and uses them for later connections if their contents have changed. If it fails, the old contents remain
// in use.
func (c *Credentials) Refresh() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var read [3][]byte
	for i, name := range []string{c.o.CAFile, c.o.CertFile, c.o.KeyFile} {
		if name == "" {
			continue
		}
		if read[i], err = os.ReadFile(name); err != nil {
			return false, err
		}
	}
	if c.current.Load() != nil && bytes.Equal(read[0], c.read[0]) && bytes.Equal(read[1], c.read[1]) && bytes.Equal(read[2], c.read[2]) {
		return false, nil
	}
	config, err := c.config(read)
	if err != nil {
		return false, err
	}
	c.read = read
	c.current.Store(config)
	return true, nil
}

// config returns a configuration with its own session cache, because a session must not be resumed under different authorities.
func (c *Credentials) config(read [3][]byte) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: c.o.ServerName,
		InsecureSkipVerify: c.o.Insecure, //nolint:gosec // only if the operator asks for it
		ClientSessionCache: tls.NewLRUClientSessionCache(sessionsKept),
	}
	if c.o.CAFile != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(read[0]) {
			return nil, fmt.Errorf("%s: contains no certificate in PEM format", c.o.CAFile)
		}
	}
	if c.o.CertFile == "" {
		return config, nil
	}
	pair, err := tls.X509KeyPair(read[1], read[2])
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", c.o.CertFile, c.o.KeyFile, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("%s: the certificate expired on %s", c.o.CertFile, pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// Config returns the configuration for a connection to a server with this host. HTTP/1.1 is offered, and HTTP/2 if http2 is set.
func (c *Credentials) Config(host string, http2 bool) *tls.Config {
	config := c.current.Load().Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	if config.NextProtos = []string{"http/1.1"}; http2 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	return config
}

// TLSError explains why a TLS connection to a server could not be made.
type TLSError struct {
	What string // explanation for an operator
	Err  error
}

// Error implements error.
func (e *TLSError) Error() string { return e.What + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TLSError) Unwrap() error { return e.Err }

// IsAlert reports whether the server has ended the connection with a TLS alert.
func IsAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// ExplainTLS returns the error from a handshake as a [TLSError].
func ExplainTLS(err error) *TLSError {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		verify    *tls.CertificateVerificationError
	)
	what := "TLS handshake failed"
	switch {
	case errors.As(err, &record):
		what = "the server does not speak TLS on this port; use http:// if that is intended"
	case errors.As(err, &authority):
		what = "the server's certificate comes from an authority that is not trusted; set tls.ca_file of the group (upstreams.NAME) to trust it"
	case errors.As(err, &name):
		what = "the server's certificate is for another name; set tls.server_name of the group (upstreams.NAME) to the expected one"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		what = "the server's certificate has expired, or is not valid yet"
	case errors.As(err, &invalid), errors.As(err, &verify):
		what = "the server's certificate cannot be used"
	case IsAlert(err):
		what = "the server has refused the handshake, perhaps because of the client certificate (tls.cert_file)"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		what = "the server closed the connection during the TLS handshake"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		what = "the TLS handshake was not completed within proxy.connect_timeout"
	}
	return &TLSError{What: what, Err: err}
}
