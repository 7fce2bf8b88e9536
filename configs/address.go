package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// hostPort splits an address that checkAddress has passed, with the host in one form: empty for every interface,
// "loopback" for this machine only, otherwise as written.
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
		// 127.0.0.1 and 127.0.0.2 differ, but so close that telling them apart here would only confuse.
		return "loopback"
	}
	return ip.String()
}

// loopback says whether an address can be reached from this machine only.
func loopback(addr string) bool {
	host, _ := hostPort(addr)
	return host == "loopback"
}

// overlap says whether two listen addresses cannot both be bound. Port 0 never collides.
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

// addresses refuses listeners that collide or are too open, and an upstream that is one of them.
func (v *validator) addresses() {
	c := v.c
	listeners := []struct{ key, addr string }{{"listen", c.Listen}, {"admin.listen", c.Admin.Listen}, {"admin.probes", c.Admin.Probes}}
	for i, a := range listeners {
		if a.addr == "" || !v.sound(a.key) {
			continue
		}
		if v.sound("upstream") && c.loops(a.addr) {
			v.failPair([]string{"upstream", a.key}, "%s is an address that wayside itself listens on (%s: %s): requests would never reach your service; give it another port and name that here",
				c.Upstream, a.key, a.addr)
		}
		for _, b := range listeners[:i] {
			if v.sound(a.key, b.key) && overlap(a.addr, b.addr) {
				v.failPair([]string{a.key, b.key}, "%s is taken by %s (%s): choose another port", a.addr, b.key, b.addr)
			}
		}
	}
	if v.sound("admin.listen") && c.Admin.Token == "" && v.sound("admin.token", "admin.token_file") && !loopback(c.Admin.Listen) {
		v.failf("admin.listen", "%s can be reached from other machines, and no token is set: set admin.token_file (WAYSIDE_ADMIN_TOKEN_FILE), or listen on 127.0.0.1; for probes alone there is admin.probes",
			c.Admin.Listen)
	}
}

// loops says whether the upstream is the listener at an address, under whatever name.
func (c *Config) loops(listen string) bool {
	u, err := url.Parse(c.Upstream)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" {
		return false
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	host, listenPort := hostPort(listen)
	to, _ := strconv.Atoi(port)
	if from, _ := strconv.Atoi(listenPort); from != to || to == 0 {
		return false // names are looked up only if the ports are the same
	}
	own := c.addressesOf(host)
	for _, up := range c.addressesOf(canonicalHost(u.Hostname())) {
		if up == "" || slices.Contains(own, up) || host == "" && (up == "loopback" || isOwnAddress(up)) {
			return true
		}
	}
	return false
}

// addressesOf is a host that canonicalHost has returned, together with the addresses it has if it is a name.
func (c *Config) addressesOf(host string) []string {
	list := []string{host}
	if _, err := netip.ParseAddr(host); err == nil || host == "" || host == "loopback" {
		return list
	}
	if own, err := os.Hostname(); err == nil && strings.EqualFold(own, host) {
		list = append(list, "loopback") // where /etc/hosts mostly has it, and if not, it is this machine all the same
	}
	if c.lookup != nil {
		found, _ := c.lookup(host) // not resolvable now: it may be later
		for _, a := range found {
			list = append(list, canonicalHost(a))
		}
	}
	return list
}

// isOwnAddress says whether an IP address belongs to one of this machine's interfaces.
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

// TrustedPrefixes returns TrustedProxies as networks; a single address is a network of one. It skips what Validate
// would refuse.
func (p Proxy) TrustedPrefixes() []netip.Prefix {
	list := make([]netip.Prefix, 0, len(p.TrustedProxies))
	for _, s := range p.TrustedProxies {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			list = append(list, prefix.Masked())
		} else if addr, err := netip.ParseAddr(s); err == nil {
			list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return list
}
