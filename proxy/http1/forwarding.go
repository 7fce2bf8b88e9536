package http1

// Forwarding fields describe the client, the connection, or the original request. A proxy or load balancer in front of wayside sets them.
// Services rely on them, so wayside removes those from untrusted peers. docs/HTTP.md lists them.

// forwardingNames are the names of forwarding fields in lower case. A name that ends with "-" is a prefix. Fields that the proxy itself writes
// are not listed here, but in classifyShort and classifyLong.
var forwardingNames = []string{
	// where the request comes from
	"x-real-", "x-client-ip", "x-clientip", "client-ip", "true-client-ip", "x-cluster-client-ip", "x-originating-ip", "x-proxyuser-ip", "x-remote-",
	"cf-connecting-", "cf-ipcountry", "fastly-client-", "x-azure-clientip", "x-azure-socketip", "x-appengine-", "x-envoy-", "wl-proxy-", "forwarded-",
	"real-ip", "cluster-client-ip", "x-true-client-ip", "cf-pseudo-ipv4", "cloudfront-viewer-", "fly-client-ip", "do-connecting-ip", "incap-client-ip",
	"x-sucuri-clientip", "x-nf-client-connection-ip", "x-vercel-forwarded-",
	// what was requested, and how
	"x-forwarded", "x-forwarded-", "x-forward-", "x-original-", "x-rewrite-url", "x-http-host-override", "x-host", "x-scheme", "x-url-scheme", "front-end-https",
	"x-http-host", "x-script-name", "script-name", "path-info", "cf-visitor",
	// who sent it
	"remote-", "x-auth-request-", "x-authenticated-user", "x-webauth-",
	"client-cert", "client-cert-chain", "x-client-cert", "x-client-cert-", "x-client-dn", "x-client-verify", "x-client-ssl-",
	"x-ssl", "x-ssl-", "ssl-", "x-tls-", "x-arr-", "x-amzn-mtls-", "proxy-ssl-id", "proxy-auth-cert",
	"cf-access-authenticated-", "x-goog-authenticated-user-", "x-goog-iap-", "x-amzn-oidc-", "x-ms-client-principal", "x-ms-client-principal-", "x-authentik-",
	"x-pomerium-", "tailscale-user-",
	// CGI turns this into HTTP_PROXY, which libraries use as their proxy ("httpoxy")
	"proxy",
}

// forwardingBy indexes forwardingNames by their third byte, which excludes most other names.
var forwardingBy = func() (by [256][]string) {
	for _, name := range forwardingNames {
		by[name[2]] = append(by[name[2]], name)
	}
	return by
}()

// classifyForwarding recognizes the forwarding fields that the proxy does not write, and imitations of them.
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

// underscored reports whether proxies send this field with "_" instead of "-". gunicorn accepts SCRIPT_NAME and PATH_INFO in this form, even from
// a proxy on the same host that its configuration does not name.
func underscored(lower string) bool { return lower == "script-name" || lower == "path-info" }
