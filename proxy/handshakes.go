package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// handshakeFailure is the reason why a TLS handshake failed.
type handshakeFailure uint8

const (
	handshakeOther handshakeFailure = iota
	handshakeClosed
	handshakeTimeout
	handshakeGaveWay
	handshakeNotTLS
	handshakeVersion
	handshakeCipher
	handshakeALPN
	handshakeNoCertificate
	handshakeClientCertificate
	handshakeRefused
	handshakeNoRoom
	handshakeProxyHeader
	handshakeFailures
)

// handshakeNames are the values of the metric's label.
var handshakeNames = [handshakeFailures]string{
	handshakeOther:             "other",
	handshakeClosed:            "client_closed",
	handshakeTimeout:           "timeout",
	handshakeGaveWay:           "gave_way",
	handshakeNotTLS:            "not_tls",
	handshakeVersion:           "unsupported_version",
	handshakeCipher:            "no_common_cipher",
	handshakeALPN:              "no_common_protocol",
	handshakeNoCertificate:     "no_certificate",
	handshakeClientCertificate: "client_certificate",
	handshakeRefused:           "refused_by_client", // for example because the client does not trust the certificate
	handshakeNoRoom:            "connections_max",
	handshakeProxyHeader:       "proxy_header",
}

// handshakeTexts maps parts of error texts to reasons, because crypto/tls has no types for these errors. TestHandshakeFailures fails if the
// texts change.
var handshakeTexts = []struct {
	text string
	why  handshakeFailure
}{
	{"unsupported versions", handshakeVersion},
	{"no cipher suite supported", handshakeCipher},
	{"unsupported application protocols", handshakeALPN},
	{"no certificates configured", handshakeNoCertificate},
	{"didn't provide a certificate", handshakeClientCertificate},
	{"client certificate", handshakeClientCertificate},
	{"remote error", handshakeRefused},
	// With TLS 1.3, if OpenSSL 3 does not trust the server's certificate, OpenSSL sends its alert before it changes its keys, so
	// crypto/tls cannot decrypt the alert.
	{"local error: tls: bad record MAC", handshakeRefused},
}

func classifyHandshake(err error) handshakeFailure {
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errGaveWay):
		return handshakeGaveWay
	case errors.Is(err, errHeaderFailed):
		return handshakeProxyHeader
	case errors.Is(err, errNoRoom):
		return handshakeNoRoom
	case isTimeout(err):
		return handshakeTimeout
	case errors.As(err, &verification):
		return handshakeClientCertificate
	case errors.As(err, &record):
		return handshakeNotTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return handshakeClosed
	}
	text := err.Error()
	for _, known := range handshakeTexts {
		if strings.Contains(text, known.text) {
			return known.why
		}
	}
	return handshakeOther
}

// tlsState is the state that all TLS connections of a Proxy share.
type tlsState struct {
	slots  chan struct{} // see tlsWire.takeSlot
	done   [2][2]counter // handshakes by version (1.2, 1.3) and whether a session was resumed
	failed [handshakeFailures]counter

	mu       sync.Mutex
	loggedAt time.Time // guarded by mu; time of the last line about a failed handshake
	since    int       // guarded by mu; number of failures since then
}

func (s *tlsState) handshakeDone(state *tls.ConnectionState) {
	version, resumed := 0, 0
	if state.Version >= tls.VersionTLS13 {
		version = 1
	}
	if state.DidResume {
		resumed = 1
	}
	s.done[version][resumed].Add(1)
}

// handshakeFailed counts a failed handshake. At most once per warnPause, it logs the details of a failure. It does not log scanners
// and health checks that only connect and disconnect.
func (s *tlsState) handshakeFailed(c *clientConn, t *clientTLS, err error) {
	why := classifyHandshake(err)
	s.failed[why].Add(1)
	if why == handshakeClosed || why == handshakeProxyHeader || why == handshakeNoRoom { // the last two are logged elsewhere
		return
	}
	s.mu.Lock()
	s.since++
	failed, due := s.since, s.loggedAt.IsZero() || time.Since(s.loggedAt) >= warnPause
	if due {
		s.loggedAt, s.since = time.Now(), 0
	}
	s.mu.Unlock()
	if due {
		c.gen.o.Logger.Warn("a TLS handshake failed; wayside_tls_handshake_failures_total counts such failures by reason", "reason", handshakeNames[why], "error", err,
			"client", string(c.client), "server_name", t.ConnectionState().ServerName, "failures", failed)
	}
}

// TLSMetrics are the counters for TLS connections with clients. Counters are cumulative since New.
type TLSMetrics struct {
	Handshakes []TLSHandshakes  // successful handshakes
	Failures   map[string]int64 // failed handshakes by reason; all reasons are included
}

// TLSHandshakes counts handshakes of one kind.
type TLSHandshakes struct {
	Version string // "1.2" or "1.3"
	Resumed bool
	Count   int64
}

// TLSMetrics reads the counters. It may be called at any time.
func (p *Proxy) TLSMetrics() TLSMetrics {
	m := TLSMetrics{Failures: make(map[string]int64)}
	for v, version := range []string{"1.2", "1.3"} {
		for r, resumed := range []bool{false, true} {
			m.Handshakes = append(m.Handshakes, TLSHandshakes{version, resumed, p.tls.done[v][r].Load()})
		}
	}
	for why, name := range handshakeNames {
		m.Failures[name] = p.tls.failed[why].Load()
	}
	return m
}
