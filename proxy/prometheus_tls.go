package proxy

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descHandshakes        = prometheus.NewDesc("wayside_tls_handshakes_total", "TLS handshakes with clients, by version and by whether a session was resumed.", []string{"version", "resumed"}, nil)
	descHandshakeFailures = prometheus.NewDesc("wayside_tls_handshake_failures_total", "Connections to a TLS listener that ended before the first request, by reason.", []string{"reason"}, nil)
	descExpires           = prometheus.NewDesc("wayside_tls_certificate_expires_seconds", "When a certificate expires, in seconds since 1970.", []string{"certificate"}, nil)
)

// collectTLS sends the counters of TLS listeners. If there are no TLS listeners, it sends nothing.
func (p *Proxy) collectTLS(gauge, count func(*prometheus.Desc, float64, ...string)) {
	o := p.current.Load().o.TLS
	if o == nil {
		return
	}
	m := p.TLSMetrics()
	for _, h := range m.Handshakes {
		count(descHandshakes, float64(h.Count), h.Version, strconv.FormatBool(h.Resumed))
	}
	for reason, n := range m.Failures {
		count(descHandshakeFailures, float64(n), reason)
	}
	if o.Expiries == nil {
		return
	}
	first := make(map[string]int64) // the earliest expiry by name, because several certificates may have the same name
	for _, e := range o.Expiries() {
		if at, seen := first[e.Name]; !seen || e.NotAfter.Unix() < at {
			first[e.Name] = e.NotAfter.Unix()
		}
	}
	for name, at := range first {
		gauge(descExpires, float64(at), name)
	}
}
