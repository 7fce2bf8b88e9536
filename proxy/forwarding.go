package proxy

import "strings"

// Forwarding fields: what a proxy or load balancer in front tells of the client, the connection or the request as it was. Services
// believe them, so a stranger's are removed. docs/HTTP.md has the list.

// forwardingNames are lower-case names; one that ends with "-" stands for all that begin so. The fields that the proxy writes
// itself are found by classifyShort.
var forwardingNames = []string{
	// where from
	"x-real-", "x-client-ip", "x-clientip", "client-ip", "true-client-ip", "x-cluster-client-ip", "x-originating-ip", "x-proxyuser-ip", "x-remote-",
	"cf-connecting-", "cf-ipcountry", "fastly-client-", "x-azure-clientip", "x-azure-socketip", "x-appengine-", "x-envoy-", "wl-proxy-", "forwarded-",
	"real-ip", "cluster-client-ip", "x-true-client-ip", "cf-pseudo-ipv4", "cloudfront-viewer-", "fly-client-ip", "do-connecting-ip", "incap-client-ip",
	"x-sucuri-clientip", "x-nf-client-connection-ip", "x-vercel-forwarded-",
	// what was asked for, and how
	"x-forwarded", "x-forwarded-", "x-forward-", "x-original-", "x-rewrite-url", "x-http-host-override", "x-host", "x-scheme", "x-url-scheme", "front-end-https",
	"x-http-host", "x-script-name", "script-name", "path-info", "cf-visitor",
	// who asks
	"remote-", "x-auth-request-", "x-authenticated-user", "x-webauth-",
	"client-cert", "client-cert-chain", "x-client-cert", "x-client-cert-", "x-client-dn", "x-client-verify", "x-client-ssl-",
	"x-ssl", "x-ssl-", "ssl-", "x-tls-", "x-arr-", "x-amzn-mtls-", "proxy-ssl-id", "proxy-auth-cert",
	"cf-access-authenticated-", "x-goog-authenticated-user-", "x-goog-iap-", "x-amzn-oidc-", "x-ms-client-principal", "x-ms-client-principal-", "x-authentik-",
	"x-pomerium-", "tailscale-user-",
	// CGI makes HTTP_PROXY of it, which libraries take for the proxy to use ("httpoxy")
	"proxy",
}

// forwardingBy holds forwardingNames by their third byte, which tells most other names from them.
var forwardingBy = func() (by [256][]string) {
	for _, name := range forwardingNames {
		by[name[2]] = append(by[name[2]], name)
	}
	return by
}()

// classifyForwarding finds the forwarding fields that the proxy does not write, and imitations of them.
func classifyForwarding(name []byte) fieldID {
	if len(name) < 3 {
		return fieldOther
	}
	third := byte('-')
	if isAlphanumeric[name[2]] {
		third = name[2] | 0x20
	}
	for _, lower := range forwardingBy[third] {
		alike, imitation := resembles(name, lower)
		switch {
		case !alike || lower[len(lower)-1] != '-' && len(name) != len(lower):
		case imitation && !underscored(lower):
			return fieldImitation
		default:
			return fieldForwardedOther
		}
	}
	return fieldOther
}

// underscored reports whether a proxy in front sends a field with "_": gunicorn takes SCRIPT_NAME and PATH_INFO so, also from a proxy on
// the same host that it was not told about.
func underscored(lower string) bool { return lower == "script-name" || lower == "path-info" }

// passes reports whether a forwarding field is passed on from everybody.
func (s *settings) passes(name []byte) bool {
	for _, passed := range s.o.PassFields {
		if strings.EqualFold(passed, string(name)) {
			return true
		}
	}
	return false
}
