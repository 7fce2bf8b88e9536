package configs

import (
	"net"
	"net/netip"
	"net/url"
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

// loops says whether an upstream is the proxy itself. Only addresses are compared, no name is looked up.
func loops(listen, upstream string) bool {
	u, err := url.Parse(upstream)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" {
		return false
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	host, listenPort := hostPort(listen)
	if port != listenPort {
		return false
	}
	up := canonicalHost(u.Hostname())
	return up == host || up == "" || host == "" && (up == "loopback" || isOwnAddress(up))
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
