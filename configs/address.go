package configs

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// hostPort splits an address that checkAddress has accepted. The host is in canonical form: empty for every interface, "loopback" for this
// machine only, otherwise the IP address, or the name in lower case.
func hostPort(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, ""
	}
	return canonicalHost(host), port
}

func canonicalHost(host string) string {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return "loopback"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return strings.ToLower(host)
	}
	switch ip = ip.Unmap(); {
	case ip.IsUnspecified():
		return ""
	case ip.IsLoopback():
		// 127.0.0.1 and 127.0.0.2 are different addresses, but distinguishing them here would only confuse users.
		return "loopback"
	}
	return ip.String()
}

// loopback reports whether an address can be reached only from this machine.
func loopback(addr string) bool {
	host, _ := hostPort(addr)
	return host == "loopback"
}

// overlap reports whether two listen addresses conflict, that is, whether only one of them can be bound. Port 0 never conflicts.
func overlap(a, b string) bool {
	hostA, portA := hostPort(a)
	hostB, portB := hostPort(b)
	return portA == portB && portA != "0" && (hostA == hostB || hostA == "" || hostB == "")
}

// checkAddress accepts host:port, with a port that may be 0.
func checkAddress(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Sprintf("%q is not an address: write host:port, such as 127.0.0.1:8090, or :8090 for every interface; an IPv6 address in brackets", s)
	}
	if host != "" {
		if msg := checkHost(host); msg != "" {
			return msg
		}
	}
	return checkPort(port, 0)
}

// addresses rejects conflicting listeners, an admin listener that has no token and can be reached from other machines, and an upstream
// that is one of wayside's own listeners.
func (v *validator) addresses() {
	c := v.c
	listeners := []struct{ key, addr string }{{"listen", c.Listen}, {"redirect_http", c.RedirectHTTP}, {"admin.listen", c.Admin.Listen}, {"admin.probes", c.Admin.Probes}}
	for i, a := range listeners {
		if a.addr == "" || !v.sound(a.key) {
			continue
		}
		v.loops(a.key, a.addr)
		for _, b := range listeners[:i] {
			if v.sound(a.key, b.key) && overlap(a.addr, b.addr) {
				v.failAt([]string{a.key, b.key}, "%s is already used by %s (%s): choose another port", a.addr, b.key, b.addr)
			}
		}
	}
	if v.sound("admin.listen") && c.Admin.Token == "" && v.sound("admin.token", "admin.token_file") && !loopback(c.Admin.Listen) {
		v.failf("admin.listen", "%s can be reached from other machines, but no token is set: set admin.token_file (WAYSIDE_ADMIN_TOKEN_FILE), or listen on 127.0.0.1; for probes alone there is admin.probes",
			c.Admin.Listen)
	}
}

// loops rejects upstream servers that are wayside's own listener. key is the key that sets the listener's address.
func (v *validator) loops(key, listen string) {
	const format = "%s is an address on which wayside itself listens (%s: %s), so requests would never reach your service: give the service another port and set that here"
	for i, server := range v.c.Upstream {
		switch {
		case !v.sound(upstreamKey) || !v.c.loops(server, listen):
		case set(v.c, upstreamKey):
			v.failElement(upstreamKey, i, format, server, key, listen)
		default: // the upstream of the running process, after a reload that changes the listener
			v.failf(key, format, server, key, listen)
		}
	}
	for _, u := range v.c.Upstreams {
		for i, s := range u.Servers {
			if at := elementPath(groupPath(u.Name)+".servers", i); v.sound(at, at+".url") && v.c.loops(s.URL, listen) {
				v.failf(at, format, s.URL, key, listen)
			}
		}
		if at := groupPath(u.Name) + ".dns"; u.DNS != "" && v.sound(at) && v.c.loops(serverOfDNS(u.DNS), listen) {
			v.failf(at, format, u.DNS, key, listen)
		}
	}
}

// defaultPorts are the default ports of the URL schemes that servers can have.
var defaultPorts = map[string]string{"http": "80", "h2c": "80", "https": "443"}

// loops reports whether a server URL leads to the listener at an address, no matter which name the URL contains.
func (c *Config) loops(server, listen string) bool {
	u, err := url.Parse(server)
	if err != nil || defaultPorts[u.Scheme] == "" || u.Hostname() == "" {
		return false
	}
	port := cmp.Or(u.Port(), defaultPorts[u.Scheme])
	host, listenPort := hostPort(listen)
	to, _ := strconv.Atoi(port)
	if from, _ := strconv.Atoi(listenPort); from != to || to == 0 {
		return false // look names up only if the ports are equal
	}
	own := c.addressesOf(host)
	for _, up := range c.addressesOf(canonicalHost(u.Hostname())) {
		if up == "" || slices.Contains(own, up) || host == "" && (up == "loopback" || isOwnAddress(up)) {
			return true
		}
	}
	return false
}

// addressesOf returns the host itself, which is in canonical form, and its addresses if it is a name.
func (c *Config) addressesOf(host string) []string {
	list := []string{host}
	if _, err := netip.ParseAddr(host); err == nil || host == "" || host == "loopback" {
		return list
	}
	if own, err := os.Hostname(); err == nil && strings.EqualFold(own, host) {
		list = append(list, "loopback") // the name means this machine, even if it has another address in /etc/hosts
	}
	if c.lookup != nil {
		found, _ := c.lookup(host) // ignore the error: a name that cannot be resolved now may be resolvable later
		for _, a := range found {
			list = append(list, canonicalHost(a))
		}
	}
	return list
}

// isOwnAddress reports whether an IP address belongs to an interface of this machine.
func isOwnAddress(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == ip {
			return true
		}
	}
	return false
}

// TrustedPrefixes returns TrustedProxies as networks; a single address becomes a network of one. It skips values that Validate rejects.
func (p Proxy) TrustedPrefixes() []netip.Prefix { return prefixes(p.TrustedProxies) }

// ProxyProtocolPrefixes is like [Proxy.TrustedPrefixes], but for ProxyProtocol.
func (c *Config) ProxyProtocolPrefixes() []netip.Prefix { return prefixes(c.ProxyProtocol) }

func prefixes(networks []string) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(networks))
	for _, s := range networks {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			list = append(list, prefix.Masked())
		} else if addr, err := netip.ParseAddr(s); err == nil {
			list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return list
}
