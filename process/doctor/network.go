package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/process/traffic"
)

// running reports the state of the wayside that is using the data directory.
func (d *doctor) running(ctx context.Context) {
	const check = "running"
	if d.Running == nil {
		d.ok(check, "no wayside is using %s", d.cfg.Data.Dir)
		return
	}
	if info, err := datadir.ReadInfo(d.cfg.Data.Dir); err == nil && info.Version != d.Version {
		d.warn(check, "restart it if it should use the version on disk", "the running wayside (process %d) is version %q, but this binary is version %q", info.PID, info.Version, d.Version)
	}
	ctx, cancel := context.WithTimeout(ctx, networkTimeout)
	defer cancel()
	body, err := d.Running.Ask(ctx, "/readyz?verbose")
	if err != nil {
		d.fail(check, "see its log", "the wayside at %s is not ready: %v", d.Running.Base, err)
		return
	}
	problems := 0
	for line := range strings.Lines(string(body)) {
		if line, bad := strings.CutPrefix(strings.TrimSpace(line), "[-]"); bad {
			problems++
			d.fail(check, "see its log", "the wayside at %s reports: %s", d.Running.Base, line)
		}
	}
	if problems == 0 {
		d.ok(check, "the wayside at %s is ready and reports no problem", d.Running.Base)
	}
}

// addresses tries to listen on all addresses, unless a running wayside already does.
func (d *doctor) addresses() {
	const check = "addresses"
	if d.Running != nil {
		d.skip(check, "the running wayside is listening on them")
		return
	}
	err := traffic.TryListen(d.cfg)
	if err == nil {
		d.ok(check, "wayside can listen on all of them")
	}
	for _, err := range each(err) {
		d.fail(check, "", "%v", err)
	}
}

// upstreams connects to each server. If the server uses TLS, it also checks the certificate.
func (d *doctor) upstreams(ctx context.Context) {
	if !d.cfg.HasUpstream() && d.upstreamsOfRunning(ctx) {
		return
	}
	if !d.cfg.HasUpstream() {
		d.fail("upstream", "set upstream, WAYSIDE_UPSTREAM or --upstream", "no upstream is configured")
	}
	for _, address := range d.cfg.Upstream {
		d.upstream(ctx, address, &configs.UpstreamTLS{})
	}
	for i := range d.cfg.Upstreams {
		group := &d.cfg.Upstreams[i]
		if group.DNS != "" {
			address := group.DNS
			if !strings.Contains(address, "://") {
				address = "http://" + address
			}
			d.upstream(ctx, address, &group.TLS)
		}
		for _, server := range group.Servers {
			d.upstream(ctx, server.URL, &group.TLS)
		}
	}
}

// upstreamsOfRunning connects to the servers that run.json names. It returns false if no wayside is running. For groups, run.json has
// only their names, so their servers cannot be checked.
func (d *doctor) upstreamsOfRunning(ctx context.Context) bool {
	if d.Running == nil {
		return false
	}
	info, err := datadir.ReadInfo(d.cfg.Data.Dir)
	if err != nil {
		return false
	}
	for name := range strings.SplitSeq(info.Upstream, ", ") {
		if strings.Contains(name, "://") {
			d.upstream(ctx, name, &configs.UpstreamTLS{})
		} else {
			d.skip("upstream", "the running wayside has %s in its file: name that file with --config", name)
		}
	}
	return true
}

func (d *doctor) upstream(ctx context.Context, address string, with *configs.UpstreamTLS) {
	const check = "upstream"
	u, err := url.Parse(address)
	if err != nil {
		d.fail(check, "", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, networkTimeout)
	defer cancel()
	network, at := "tcp", u.Host
	switch {
	case u.Scheme == "unix":
		network, at = "unix", u.Path
	case u.Port() == "" && u.Scheme == "https":
		at = net.JoinHostPort(u.Hostname(), "443")
	case u.Port() == "":
		at = net.JoinHostPort(u.Hostname(), "80")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, at)
	if err != nil {
		d.fail(check, adviceForDial(err), "%s cannot be reached: %v", address, err)
		return
	}
	defer func() { _ = conn.Close() }()
	if u.Scheme == "https" {
		if err := tls.Client(conn, clientTLS(u.Hostname(), with)).HandshakeContext(ctx); err != nil {
			d.fail(check, "name the authority of its certificate with ca_file, or the name in the certificate with server_name", "TLS with %s: %v", address, err)
			return
		}
	}
	d.ok(check, "%s accepts connections", address)
}

// clientTLS returns the configuration for TLS to a server in a group. The files that o names have already been checked.
func clientTLS(host string, o *configs.UpstreamTLS) *tls.Config {
	c := &tls.Config{ServerName: cmp.Or(o.ServerName, host), InsecureSkipVerify: o.Insecure} //nolint:gosec // if the configuration says so
	if o.CA != "" {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AppendCertsFromPEM([]byte(o.CA))
	}
	if pair, err := tls.X509KeyPair([]byte(o.Cert), []byte(o.Key)); err == nil {
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

func adviceForDial(err error) string {
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return "check the spelling of the name and the name servers of this machine"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "start the service, or correct the port; until then clients get 502"
	case errors.Is(err, syscall.ENOENT):
		return "start the service, or correct the path of its socket"
	case errors.Is(err, syscall.EACCES):
		return "grant this user permission to write to the socket"
	case errors.Is(err, context.DeadlineExceeded):
		return "a firewall may drop the packets"
	}
	return ""
}
