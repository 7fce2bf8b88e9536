package configs

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file checks single values. Each check returns a message that says what is wrong and what to do, or an empty string. A check uses
// only the value: it does not look up names or open files.

// Limits on the values of all keys of a type. They ensure that no value can make a sum overflow or fill the memory.
const (
	textBytesMax    = 4096
	listElementsMax = 1000
	durationMax     = 100 * 365 * 24 * Hour
	numberMax       = 1_000_000_000
	sizeMax         = 1024 * TiB
)

// checkType applies the limits of the field's type.
func checkType(field any) string {
	switch p := field.(type) {
	case *string:
		return checkText(*p)
	case *Secret:
		return checkSecret(string(*p))
	case **Duration:
		if *p != nil {
			return checkType(*p)
		}
	case **Bytes:
		if *p != nil {
			return checkType(*p)
		}
	case *Duration:
		if *p > durationMax || *p < -durationMax {
			return fmt.Sprintf("%v is too large: the maximum is %v", *p, durationMax)
		}
	case *int:
		if *p > numberMax {
			return fmt.Sprintf("%d is too large: the maximum is %d", *p, numberMax)
		}
	case *Bytes:
		if *p > sizeMax {
			return fmt.Sprintf("%v is too large: the maximum is %v", *p, sizeMax)
		}
	}
	return ""
}

func checkText(s string) string {
	switch {
	case len(s) > textBytesMax:
		return fmt.Sprintf("has %d bytes: the maximum is %d", len(s), textBytesMax)
	case !utf8.ValidString(s):
		return fmt.Sprintf("%q is not UTF-8 text: write it as UTF-8", s)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }):
		return fmt.Sprintf("%q has a control character: leave it out", s)
	}
	return ""
}

const (
	tokenBytesMin = 8 // each wrong guess costs half a second, so guessing 8 characters takes too long
	tokenBytesMax = 1024
)

// checkSecret accepts a token that can be sent in an Authorization field and is too long to be guessed. Its messages never contain the value.
func checkSecret(s string) string {
	const remedy = "make one with: openssl rand -hex 32"
	switch {
	case s == "":
		return ""
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "has a space, a line break or a character outside ASCII, which a header field cannot contain: " + remedy
	case len(s) < tokenBytesMin:
		return fmt.Sprintf("has %d characters, but needs at least %d, so that it cannot be guessed: %s", len(s), tokenBytesMin, remedy)
	case len(s) > tokenBytesMax:
		return fmt.Sprintf("has %d characters: the maximum is %d", len(s), tokenBytesMax)
	}
	return ""
}

// nameLengthMax is the maximum length of a service's or an instance's name, in characters.
const nameLengthMax = 128

// checkName accepts names that, when escaped, can be part of a file's or an object's name.
func checkName(s string) string {
	switch {
	case s == "." || s == "..":
		return fmt.Sprintf("%q is not a name: it means a directory; choose another", s)
	case strings.TrimSpace(s) != s:
		return fmt.Sprintf("%q begins or ends with a space: leave it out", s)
	case strings.ContainsRune(s, '\t'):
		return fmt.Sprintf("%q has a control character: leave it out", s)
	case utf8.RuneCountInString(s) > nameLengthMax:
		return fmt.Sprintf("has %d characters: the maximum is %d", utf8.RuneCountInString(s), nameLengthMax)
	}
	return ""
}

var hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// checkHost accepts an IP address without brackets, or a host name. Underscores are allowed, because container names contain them.
func checkHost(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if strings.Contains(host, ":") {
		return fmt.Sprintf("%q is not an IPv6 address: write it in brackets, such as [::1]", host)
	}
	name := strings.TrimSuffix(host, ".")
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if len(name) > 253 || !hostLabel.MatchString(label) {
			return fmt.Sprintf("%q is not a host name: use letters, digits, hyphens and dots, with no hyphen at either end of a part", host)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return fmt.Sprintf("%q is not an IP address: write four numbers from 0 to 255, such as 127.0.0.1, or a host name", host)
	}
	return ""
}

// checkPort accepts decimal numbers from least to 65535.
func checkPort(port string, least int) string {
	n, err := strconv.Atoi(port)
	if err != nil || n < least || n > 65535 || strings.Trim(port, "0123456789") != "" {
		return fmt.Sprintf("%q is not a usable port: write a number from %d to 65535", port, least)
	}
	return ""
}

// parseURL is like url.Parse, but returns a message that says what to do. form shows what a correct URL looks like.
func parseURL(s, form string) (u *url.URL, msg string) {
	if strings.ContainsFunc(s, unicode.IsSpace) {
		return nil, fmt.Sprintf("%q has a space: write %s, and write a space in a path as %%20", s, form)
	}
	u, err := url.Parse(s)
	if err == nil {
		return u, ""
	}
	if _, rest, ok := strings.Cut(s, "://"); ok {
		authority, _, _ := strings.Cut(rest, "/")
		if !strings.Contains(authority, "[") && strings.Count(authority, ":") > 1 && !strings.Contains(authority, "@") {
			return nil, fmt.Sprintf("%q is not a URL: write an IPv6 address in brackets, such as http://[::1]:3000", s)
		}
	}
	return nil, fmt.Sprintf("%q is not a URL: write %s", withoutPassword(s), form)
}

// withoutPassword removes credentials that were written into a URL by mistake.
func withoutPassword(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}

// checkURLHost checks the host and the port of a URL.
func checkURLHost(u *url.URL) string {
	if strings.Count(u.Host, ":") > 1 && !strings.HasPrefix(u.Host, "[") {
		return fmt.Sprintf("%s: write an IPv6 address in brackets, such as %s://[::1]:3000", u.Host, u.Scheme)
	}
	if msg := checkHost(u.Hostname()); msg != "" {
		return msg
	}
	if strings.HasSuffix(u.Host, ":") {
		return fmt.Sprintf("%q has no port after its colon: write a number from 1 to 65535", u.Host)
	}
	if port := u.Port(); port != "" {
		return checkPort(port, 1)
	}
	return ""
}

func checkUpstream(s string) string {
	const form = "http://host:port, https://host:port, h2c://host:port or unix:///path"
	u, msg := parseURL(s, form)
	if u == nil {
		return msg
	}
	switch {
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		return "contains more than an address: write " + form + " and nothing else"
	case u.Scheme == "unix":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || len(u.Path) < 2 || strings.HasSuffix(u.Path, "/") {
			return fmt.Sprintf("%q names no socket file: write unix:///path, with three slashes", s)
		}
		if len(u.Path) > socketPathMax {
			return fmt.Sprintf("its path has %d bytes, but the path of a socket has at most %d: use a shorter one", len(u.Path), socketPathMax)
		}
		return ""
	case defaultPorts[u.Scheme] == "" || u.Hostname() == "":
		return fmt.Sprintf("%q is not an upstream: write %s", s, form)
	case u.Path != "" && u.Path != "/":
		return fmt.Sprintf("%s has a path: paths are forwarded unchanged, so write %s://%s", s, u.Scheme, u.Host)
	}
	return checkURLHost(u)
}

// socketPathMax is the maximum length of a Unix socket's path, in bytes.
const socketPathMax = 107

func checkEndpoint(s string) string {
	const form = "http://host:port or https://host"
	u, msg := parseURL(s, form)
	switch {
	case u == nil:
		return msg
	case u.User != nil:
		return "contains credentials, which belong in the AWS environment or in archive.access_key_file and archive.secret_key_file"
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" ||
		u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return fmt.Sprintf("%q is not an endpoint: write %s and nothing else", s, form)
	}
	return checkURLHost(u)
}

var regionName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?$`)

func checkRegion(s string) string {
	if regionName.MatchString(s) {
		return ""
	}
	return fmt.Sprintf("%q is not a region: write its name, such as us-east-1, in letters, digits and hyphens", s)
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*[a-z0-9]$`)

// checkBucket rejects names that no S3 server allows. It accepts underscores: AWS no longer allows them in new buckets, but old buckets
// in us-east-1 and buckets on other servers may have them.
func checkBucket(name string) string {
	const rules = "write 3 to 63 lower-case letters, digits, hyphens, dots and underscores, with a letter or digit at both ends"
	_, err := netip.ParseAddr(name)
	switch {
	case len(name) < 3 || len(name) > 63 || !bucketName.MatchString(name):
		return fmt.Sprintf("%q is not the name of a bucket: %s", name, rules)
	case strings.Contains(name, "..") || strings.Contains(name, ".-") || strings.Contains(name, "-."):
		return fmt.Sprintf("%q is not the name of a bucket: a dot must not be next to another dot or a hyphen", name)
	case err == nil || ipv4Like.MatchString(name):
		return fmt.Sprintf("%q is not the name of a bucket: it looks like an IP address", name)
	}
	return ""
}

var ipv4Like = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$`)

// checkNetwork accepts an address, or a network whose host bits are zero. It rejects IPv4 addresses in IPv6 notation, which would never match.
func checkNetwork(s string) string {
	if addr, err := netip.ParseAddr(s); err == nil {
		switch {
		case addr.Is4In6():
			return fmt.Sprintf("%s is an IPv4 address in IPv6 notation: write %s", s, addr.Unmap())
		case addr.Zone() != "":
			return fmt.Sprintf("%s has a zone, but client addresses have none: write %s", s, addr.WithZone(""))
		}
		return ""
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Sprintf("%q is neither an address (10.1.2.3) nor a network (10.0.0.0/8)", s)
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return fmt.Sprintf("%s mixes IPv4 and IPv6: write the IPv4 network and the IPv6 network as two elements", s)
		}
		return fmt.Sprintf("%s is an IPv4 network in IPv6 notation: write %s", s,
			netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96).Masked())
	}
	if masked := prefix.Masked(); masked != prefix {
		return fmt.Sprintf("%s has host bits set beyond its /%d: write %s for the network, or %s for the one address", s, prefix.Bits(), masked, prefix.Addr())
	}
	return ""
}

// checkExcludedPath accepts a path, or a prefix of one, as clients send it: escaped and without a query. It may be followed by a
// space and a prefix of a user agent: a product's name, a slash, and digits of its version.
func checkExcludedPath(s string) string {
	if path, agent, both := strings.Cut(s, " "); both {
		if name, version, ok := strings.Cut(agent, "/"); ok && name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !isTokenRune(r) }) && strings.Trim(version, ".0123456789") == "" {
			s = path
		}
	}
	switch {
	case !strings.HasPrefix(s, "/"):
		return fmt.Sprintf("%q is not a path: begin with /, such as /healthz or /internal/*", s)
	case strings.ContainsAny(s, "?#"):
		return fmt.Sprintf("%q has a query or a fragment, which are ignored: write %s", s, s[:strings.IndexAny(s, "?#")])
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Sprintf("%q can never match: write it as clients send it, %s", s, (&url.URL{Path: s}).EscapedPath())
	case s == "/*":
		return "\"/*\" leaves nothing to record: name the paths to leave out"
	}
	if i := strings.IndexByte(s, '*'); i >= 0 && i != len(s)-1 {
		return fmt.Sprintf("%q: a * is allowed only at the end", s)
	}
	return ""
}

func checkExcludedAgent(s string) string {
	if strings.TrimSpace(s) == "" {
		return "an empty prefix leaves nothing to record: name an agent, such as kube-probe/"
	}
	if strings.HasSuffix(s, "*") {
		return fmt.Sprintf("%q: it is already a prefix: leave out the *", s)
	}
	return ""
}

// checkHostName accepts a host name in lower case, without scheme and port, because Host is compared with it in this form.
func checkHostName(s string) string {
	if s == "" || s != strings.ToLower(s) || strings.ContainsAny(s, "/:@ *") || checkHost(s) != "" {
		return fmt.Sprintf("%q is not a host name in lower case, without scheme and port: write wayside.example.org", s)
	}
	return ""
}

// omitFields are the fields in archived events that wayside itself does not need.
var omitFields = []string{"url_path", "client_address", "upstream_address", "network_protocol_version"}

func checkOmit(name string) string {
	if slices.Contains(omitFields, name) {
		return ""
	}
	return fmt.Sprintf("%q cannot be left out: only %s can", name, strings.Join(omitFields, ", "))
}

// checkTemplate applies the rules of collector/paths, which configs does not import: {name} matches one segment, * any characters within a
// segment, ** any number of segments.
func checkTemplate(s string) string {
	const hint = "begin with / and mark what varies, such as /users/{id} or /static/**"
	if !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "?# ") || len(s) > 256 {
		return fmt.Sprintf("%q is not a template: %s", s, hint)
	}
	for segment := range strings.SplitSeq(s[1:], "/") {
		switch {
		case strings.ContainsAny(segment, "{}") && !wholePlaceholder(segment):
			return fmt.Sprintf("%q: %s must be a whole segment with a name, such as {id}", s, segment)
		case strings.Contains(segment, "**") && segment != "**":
			return fmt.Sprintf("%q: ** must be a whole segment, as in /static/**", s)
		}
	}
	return ""
}

func wholePlaceholder(segment string) bool {
	return len(segment) > 2 && segment[0] == '{' && segment[len(segment)-1] == '}' &&
		strings.Count(segment, "{") == 1 && strings.Count(segment, "}") == 1
}
