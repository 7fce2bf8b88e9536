package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/wayside-proxy/wayside/internal/otlp"
	"github.com/wayside-proxy/wayside/process/books"
)

// otlp sends an empty request of each signal to the collector. wayside works without a collector, so a failure is only a warning.
func (d *doctor) otlp(ctx context.Context) {
	const check = "otlp"
	endpoint := d.cfg.OTLP.Endpoint
	if endpoint == "" {
		return
	}
	exporter, err := otlp.New(books.OTLPOptions(d.cfg, d.Version, d.log))
	if err == nil {
		err = exporter.Probe(ctx)
	}
	if err != nil {
		d.warn(check, adviceForOTLP(err), "%s does not accept requests: %v", endpoint, err)
		return
	}
	d.ok(check, "%s accepts requests", endpoint)
}

func adviceForOTLP(err error) string {
	var (
		name      *net.DNSError
		authority x509.UnknownAuthorityError
	)
	switch text := err.Error(); {
	case errors.As(err, &authority):
		return "set otlp.ca_file to the certificate of your authority"
	case errors.As(err, &name):
		return "check the spelling of the name and the name servers of this machine"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "start the collector, or correct the port: OTLP over HTTP is usually on port 4318"
	case strings.Contains(text, "malformed HTTP response"):
		return "correct the port: this one may be for gRPC; OTLP over HTTP is usually on port 4318"
	case strings.Contains(text, " 401") || strings.Contains(text, " 403"):
		return "correct the fields in otlp.headers_file"
	case strings.Contains(text, " 404"):
		return "correct the path in otlp.endpoint: wayside appends /v1/metrics and /v1/traces"
	}
	return "metrics and spans are not exported until it accepts them; traffic and the books are not affected"
}
