package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/process/traffic"
)

// running asks the wayside that uses the data directory what it knows about itself.
func (d *doctor) running(ctx context.Context) {
	const check = "running"
	if d.Running == nil {
		d.ok(check, "no wayside uses %s", d.cfg.Data.Dir)
		return
	}
	if info, err := datadir.ReadInfo(d.cfg.Data.Dir); err == nil && info.Version != d.Version {
		d.warn(check, "restart it to use the version on disk, if that is meant", "the wayside that runs (process %d) is version %q, this binary is %q", info.PID, info.Version, d.Version)
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

// addresses tries to listen, unless a running wayside has the addresses.
func (d *doctor) addresses() {
	const check = "addresses"
	if d.Running != nil {
		d.skip(check, "the running wayside has them")
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

// upstreams connects to the services, and over TLS checks their certificates.
func (d *doctor) upstreams(ctx context.Context) {
	if d.cfg.Upstream == "" {
		d.fail("upstream", "set upstream, WAYSIDE_UPSTREAM or --upstream", "no upstream is configured")
		return
	}
	d.upstream(ctx, d.cfg.Upstream)
}

func (d *doctor) upstream(ctx context.Context, address string) {
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
		if err := tls.Client(conn, &tls.Config{ServerName: u.Hostname()}).HandshakeContext(ctx); err != nil {
			d.warn(check, "if its certificate comes from an authority of your own, this check does not know that authority", "TLS with %s: %v", address, err)
			return
		}
	}
	d.ok(check, "%s accepts connections", address)
}

func adviceForDial(err error) string {
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return "check the spelling of the name and the name servers of this machine"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "start the service, or correct the port; until then wayside answers with 502"
	case errors.Is(err, syscall.ENOENT):
		return "start the service, or correct the path of its socket"
	case errors.Is(err, syscall.EACCES):
		return "give this user the right to write to the socket"
	case errors.Is(err, context.DeadlineExceeded):
		return "a firewall may drop the packets"
	}
	return ""
}
