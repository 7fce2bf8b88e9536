package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// This file checks single values, like checks.go, but for listeners, groups and routes.

var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?$`)

// checkLabel accepts the name of a group or a route. The name becomes part of metrics, events and URLs.
func checkLabel(s string) string {
	switch {
	case s == "":
		return "is not set: choose a name for statistics and events"
	case len(s) > labelBytesMax:
		return fmt.Sprintf("has %d characters: the maximum is %d", len(s), labelBytesMax)
	case !label.MatchString(s):
		return fmt.Sprintf("%q is not a name: use letters, digits and ._-, and begin and end with a letter or digit", s)
	}
	return ""
}

// checkFileName accepts any file name that is not empty. Load reads the file later.
func checkFileName(s string) string {
	if strings.TrimSpace(s) == "" {
		return "is not set: name a file"
	}
	return ""
}

// checkDNS accepts host:port, https://host:port or h2c://host:port, where host is a name rather than an address.
func checkDNS(s string) string {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "h2c://"))
	if err != nil || host == "" {
		return fmt.Sprintf("%q is not a name with a port: write host:port, https://host:port or h2c://host:port, such as api.local:8080", s)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return fmt.Sprintf("%s is an address, so there is nothing to look up: write it as a server, servers: [%s]", host, serverOfDNS(s))
	}
	if msg := checkHost(host); msg != "" {
		return msg
	}
	return checkPort(port, 1)
}

// serverOfDNS returns a value of dns as a server URL.
func serverOfDNS(s string) string {
	if strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "h2c://") {
		return s
	}
	return "http://" + s
}

func checkCookie(s string) string {
	if len(s) > labelBytesMax || strings.ContainsFunc(s, func(r rune) bool { return !isTokenRune(r) }) {
		return fmt.Sprintf("%q is not the name of a cookie: use at most %d letters, digits, hyphens and underscores", s, labelBytesMax)
	}
	return ""
}

// checkHealthPath accepts a path, with or without a query, as it is sent.
func checkHealthPath(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return fmt.Sprintf("%q is not a path: begin with /, such as /ready", s)
	case strings.HasPrefix(s, "//"):
		return fmt.Sprintf("%q begins with two slashes: write one", s)
	case strings.Contains(s, "#"):
		return fmt.Sprintf("%q has a fragment, which is never sent: leave out the part from # on", s)
	}
	return checkSentText(s)
}

// checkSentText accepts a string that can be part of a request line: it has no blanks and no characters outside ASCII.
func checkSentText(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fmt.Sprintf("%q has a space or a character outside ASCII: write it escaped, %s", s, (&url.URL{Path: s}).EscapedPath())
	}
	if _, err := url.ParseRequestURI(s); err != nil {
		return fmt.Sprintf("%q has a %% that does not begin an escape: write %%25", s)
	}
	return ""
}

// checkServerName accepts a host name to verify in a certificate.
func checkServerName(s string) string {
	if strings.Contains(s, "/") || strings.HasSuffix(s, ":") {
		return fmt.Sprintf("%q is not a host name: write only the name, such as api.example.org", s)
	}
	return checkHost(s)
}

func checkEmail(s string) string {
	user, host, ok := strings.Cut(s, "@")
	if !ok || user == "" || host == "" || strings.ContainsAny(s, " <>,") || checkHost(host) != "" {
		return fmt.Sprintf("%q is not an email address: write one, such as ops@example.org", s)
	}
	return ""
}

// checkACMEHost accepts a host name for which an authority can verify a challenge over HTTP or TLS.
func checkACMEHost(s string) string {
	if strings.Contains(s, "*") {
		return fmt.Sprintf("%q: certificates for wildcard names need a challenge over DNS, which wayside does not support: list the names, or use tls.certificates", s)
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return fmt.Sprintf("%q is an address: write a host name, or use tls.certificates", s)
	}
	return checkHostName(s)
}

func checkDirectoryURL(s string) string {
	const form = "https://host/directory"
	u, msg := parseURL(s, form)
	switch {
	case u == nil:
		return msg
	case u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Contains(s, "#"):
		return fmt.Sprintf("%q is not the directory of an authority: write %s", withoutPassword(s), form)
	}
	return checkURLHost(u)
}

// checkRouteHost accepts a host name, a wildcard such as *.example.org, or an address.
func checkRouteHost(s string) string {
	name := strings.TrimPrefix(s, "*.")
	switch {
	case s == "*":
		return "\"*\" means any host: leave host out"
	case strings.Contains(name, "*"):
		return fmt.Sprintf("%q: a * may only replace the first part, as in *.example.org", s)
	case strings.Contains(s, "/"):
		return fmt.Sprintf("%q is not a host: write only the name, such as www.example.org", s)
	case s != strings.ToLower(s):
		return fmt.Sprintf("%q: write it in lower case, %s; requests match in any case", s, strings.ToLower(s))
	case strings.HasSuffix(s, "."):
		return fmt.Sprintf("%q: leave out the dot at the end; requests match with and without it", s)
	}
	literal, bracketed := strings.CutPrefix(strings.TrimSuffix(name, "]"), "[")
	if addr, err := netip.ParseAddr(literal); err == nil && bracketed == strings.HasSuffix(name, "]") && (addr.Is6() || !bracketed) {
		if name != s {
			return fmt.Sprintf("%q: an address has no subdomains: leave out *.", s)
		}
		return ""
	}
	if host, _, ok := strings.Cut(name, ":"); ok {
		return fmt.Sprintf("%q has a port: write %s; requests match with any port", s, host)
	}
	return checkHost(name)
}

// checkRoutePath accepts an exact path, or a prefix that ends with /*, in the normalized form that a request's path has when it is matched.
func checkRoutePath(s string) string {
	switch path := strings.TrimSuffix(s, "/*"); {
	case !strings.HasPrefix(s, "/"):
		return fmt.Sprintf("%q is not a path: begin with /, such as /api/*", s)
	case strings.ContainsAny(s, "?#"):
		return fmt.Sprintf("%q has a query or a fragment, which are ignored: write %s", s, s[:strings.IndexAny(s, "?#")])
	case strings.Contains(path, "*"):
		return fmt.Sprintf("%q: a * is allowed only at the end, after a slash, as in /api/*", s)
	case strings.Contains(s, "//"):
		return fmt.Sprintf("%q can never match, because repeated slashes count as one: write one", s)
	case strings.ContainsAny(s, "\\%;"):
		return fmt.Sprintf("%q can never match: paths are compared decoded and without parameters; leave out \\, %% and ;", s)
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "." || segment == ".." {
			return fmt.Sprintf("%q can never match, because . and .. are resolved first: leave them out", s)
		}
	}
	return ""
}

// checkMethod accepts a method's name. Methods are case-sensitive (RFC 9110, section 9.1).
func checkMethod(s string) string {
	switch {
	case s == "" || len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return !isTokenRune(r) }):
		return fmt.Sprintf("%q is not a method: write a name such as GET", s)
	case s != strings.ToUpper(s):
		return fmt.Sprintf("%q: methods are case-sensitive: write %s", s, strings.ToUpper(s))
	case s == "CONNECT":
		return "CONNECT is never forwarded: leave it out"
	}
	return ""
}

// checkRedirect accepts an absolute URL or a path.
func checkRedirect(s string) string {
	const form = "https://host, https://host/path or /path"
	if strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//") {
		return checkSentText(s)
	}
	u, msg := parseURL(s, form)
	switch {
	case u == nil:
		return msg
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil:
		return fmt.Sprintf("%q is not a target: write %s", withoutPassword(s), form)
	}
	return checkURLHost(u)
}

func checkStripPrefix(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return fmt.Sprintf("%q is not a path: begin with /, such as /app", s)
	case len(s) > 1 && strings.HasSuffix(s, "/"), s == "/":
		return fmt.Sprintf("%q ends with a slash: write it without the slash, such as /app", s)
	case strings.HasSuffix(s, "*"):
		return fmt.Sprintf("%q: it is already a prefix: leave out the *", s)
	}
	return checkRoutePath(s)
}
