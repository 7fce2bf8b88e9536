package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Validate checks every value and how they go together. It returns an *Error, several joined, or nil.
func (c *Config) Validate() error {
	v := validator{c: c, bad: map[string]bool{}}
	v.run()
	if len(v.errs) == 0 {
		return nil
	}
	return join(v.errs)
}

// RequireUpstream returns an error if no upstream is set: `wayside run` has nothing to forward to then.
func (c *Config) RequireUpstream() error {
	if c.Upstream != "" {
		return nil
	}
	return &Error{
		Key: "upstream", Source: SourceDefault,
		Msg: "is not set: say where your service listens, such as --upstream http://127.0.0.1:3000 (or WAYSIDE_UPSTREAM, or upstream: in the file)",
	}
}

// validator collects what is wrong with a configuration.
type validator struct {
	c    *Config
	bad  map[string]bool // keys with an error already: comparing them with others would only repeat it
	errs []*Error
}

func (v *validator) failf(key, format string, args ...any) {
	v.errs = append(v.errs, v.c.origins.error(key, fmt.Sprintf(format, args...)))
	v.bad[key] = true
}

// sound says whether all of these keys passed their own checks.
func (v *validator) sound(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return v.bad[k] })
}

func (v *validator) run() {
	for _, k := range table(v.c) {
		if k.check == nil || v.bad[k.path] {
			continue
		}
		if list, isList := k.field.(*[]string); isList {
			v.elements(&k, list)
			continue
		}
		if msg := k.check(); msg != "" {
			v.failf(k.path, "%s", msg)
		}
	}
	v.addresses()
	v.archive()
	if v.sound("shutdown.delay", "shutdown.timeout") && v.c.Shutdown.Delay >= v.c.Shutdown.Timeout {
		v.failf("shutdown.delay", "%v leaves nothing of shutdown.timeout (%v) to finish requests in: lower it or raise shutdown.timeout",
			v.c.Shutdown.Delay, v.c.Shutdown.Timeout)
	}
}

// elements checks a list one element at a time, so that each that is wrong is named, where it stands.
func (v *validator) elements(k *key, list *[]string) {
	all := *list
	defer func() { *list = all }()
	for i := range all {
		*list = all[i : i+1]
		msg := k.check()
		if msg == "" {
			continue
		}
		at := v.c.origins[k.path]
		if element, known := v.c.origins[elementPath(k.path, i)]; known && at.source == SourceFile {
			at = element
		} else if at.source == "" {
			at.source = SourceDefault
		}
		v.errs = append(v.errs, at.error(k.path, msg))
		v.bad[k.path] = true
	}
}

func (v *validator) addresses() {
	c := v.c
	if v.sound("listen", "upstream") && loops(c.Listen, c.Upstream) {
		v.failf("upstream", "%s is the address wayside itself listens on (listen: %s): requests would go round for ever; give your service another port and name it here",
			c.Upstream, c.Listen)
	}
	for key, addr := range map[string]string{"admin.listen": c.Admin.Listen, "admin.probes": c.Admin.Probes} {
		if addr != "" && v.sound(key, "upstream") && loops(addr, c.Upstream) {
			v.failf("upstream", "%s is the address of %s: whoever reaches the proxy would reach the books; name your service's own port here",
				c.Upstream, key)
		}
	}
	listeners := []struct{ key, addr string }{
		{"listen", c.Listen}, {"admin.listen", c.Admin.Listen}, {"admin.probes", c.Admin.Probes},
	}
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			if v.sound(a.key, b.key) && a.addr != "" && overlap(a.addr, b.addr) {
				v.failf(a.key, "%s is taken by %s (%s): choose another port", a.addr, b.key, b.addr)
			}
		}
	}
	if v.sound("admin.listen") && c.Admin.Token == "" && v.sound("admin.token", "admin.token_file") && !loopback(c.Admin.Listen) {
		v.failf("admin.listen", "%s can be reached from other machines, and no token is set: set admin.token_file (WAYSIDE_ADMIN_TOKEN_FILE), or listen on 127.0.0.1; for probes alone there is admin.probes",
			c.Admin.Listen)
	}
}

func (v *validator) archive() {
	a := v.c.Archive
	if (a.AccessKey == "") != (a.SecretKey == "") && v.sound("archive.access_key_file", "archive.secret_key_file") {
		set, missing := "archive.access_key_file", "archive.secret_key_file"
		if a.AccessKey == "" {
			set, missing = missing, set
		}
		v.failf(set, "needs %s as well", missing)
	}
	if !v.sound("archive.url", "archive.endpoint", "archive.region") || a.URL == "" {
		return
	}
	u, err := url.Parse(a.URL)
	if err != nil {
		return // reported by checkArchiveURL
	}
	if u.Scheme == "file" {
		v.localArchive(u.Path)
		return
	}
	for key, value := range map[string]string{"endpoint": a.Endpoint, "region": a.Region} {
		if in := u.Query().Get(key); in != "" && value != "" && in != value {
			v.failf("archive."+key, "%s contradicts %s=%s in archive.url: keep one of the two", value, key, in)
		}
	}
}

// localArchive refuses an archive among wayside's own files, where it would be taken for something else.
func (v *validator) localArchive(dir string) {
	data, err := filepath.Abs(v.c.Data.Dir)
	if err != nil {
		return
	}
	rel, err := filepath.Rel(data, filepath.Clean(dir))
	if err != nil {
		return
	}
	first, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	if slices.Contains([]string{".", "spool", "store", "quarantine"}, first) {
		v.failf("archive.url", "%s is a directory of wayside's own: use %s or one outside the data directory", dir, filepath.Join(data, "archive"))
	}
}

// TargetURL returns the archive's URL with endpoint, region and path style in its query, whichever way they were given.
func (a Archive) TargetURL() string {
	u, err := url.Parse(a.URL)
	if err != nil || u.Scheme != "s3" {
		return a.URL
	}
	q := u.Query()
	for key, value := range map[string]string{"endpoint": a.Endpoint, "region": a.Region} {
		if value != "" && q.Get(key) == "" {
			q.Set(key, value)
		}
	}
	if a.PathStyle && q.Get("path_style") == "" {
		q.Set("path_style", "true")
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func checkAddress(s string) string {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Sprintf("%q is not an address: write host:port, such as 127.0.0.1:8090, or :8090 for every interface", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Sprintf("%q has no usable port: write a number from 0 (any free port) to 65535", s)
	}
	return ""
}

func checkUpstream(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a URL: write http://host:port or unix:///path", s)
	case u.Scheme == "https":
		return fmt.Sprintf("%s: TLS to the upstream is not supported: write http://host:port", s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "has more than an address: write http://host:port or unix:///path, nothing else"
	case u.Scheme == "unix":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || len(u.Path) < 2 {
			return fmt.Sprintf("%q names no socket: write unix:///path, with three slashes", s)
		}
		return ""
	case u.Scheme != "http" || u.Hostname() == "":
		return fmt.Sprintf("%q is not an upstream: write http://host:port or unix:///path", s)
	case u.Path != "" && u.Path != "/":
		return fmt.Sprintf("%s has a path: paths are forwarded as they come, write http://%s", s, u.Host)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Sprintf("%s has no usable port: write a number from 1 to 65535", s)
		}
	}
	return ""
}

func checkArchiveURL(s string) string {
	if rest := strings.NewReplacer("{service}", "", "{instance}", "").Replace(s); strings.ContainsAny(rest, "{}") {
		return fmt.Sprintf("%q has a placeholder that is not {service} or {instance}", s)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a URL: write file:///dir or s3://bucket/prefix", s)
	case u.User != nil:
		return "holds credentials, which belong in the AWS environment or in archive.access_key_file and archive.secret_key_file"
	case u.Scheme == "file":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || u.RawQuery != "" {
			return fmt.Sprintf("%q is not a directory: write file:///dir, with three slashes and the full path", s)
		}
		return ""
	case u.Scheme != "s3" || u.Host == "":
		return fmt.Sprintf("%q is not an archive: write file:///dir or s3://bucket/prefix", s)
	}
	return checkArchiveQuery(u)
}

func checkArchiveQuery(u *url.URL) string {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Sprintf("the part behind ? cannot be read: %s", err)
	}
	for name, values := range q {
		if !slices.Contains([]string{"endpoint", "region", "path_style"}, name) {
			return fmt.Sprintf("%s is not an option of an archive: there are endpoint, region and path_style", name)
		}
		if len(values) > 1 {
			return fmt.Sprintf("%s is given twice: remove one", name)
		}
	}
	if e := q.Get("endpoint"); e != "" {
		if msg := checkEndpoint(e); msg != "" {
			return "endpoint: " + msg
		}
	}
	if p := q.Get("path_style"); p != "" && p != "true" && p != "false" {
		return fmt.Sprintf("path_style=%s is neither true nor false", p)
	}
	return ""
}

func checkEndpoint(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return fmt.Sprintf("%q is not an endpoint: write http://host:port or https://host", s)
	}
	return ""
}

func checkNetwork(s string) string {
	if _, err := netip.ParsePrefix(s); err == nil {
		return ""
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return ""
	}
	return fmt.Sprintf("%q is neither an address (10.1.2.3) nor a network (10.0.0.0/8)", s)
}

func checkExcludedPath(s string) string {
	if !strings.HasPrefix(s, "/") {
		return fmt.Sprintf("%q is not a path: begin with /, such as /healthz or /internal/*", s)
	}
	if i := strings.IndexByte(s, '*'); i >= 0 && i != len(s)-1 {
		return fmt.Sprintf("%q: a * may only stand at the end", s)
	}
	return ""
}

// checkTemplate knows the rules of package paths, which configs does not import: {name} is one segment, * a run of
// characters within one, ** any number of segments.
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

// checkSchedule accepts a cron expression of five fields, an alias such as @hourly, or @every with a duration.
func checkSchedule(s string) string {
	const hint = `write a cron expression such as "0 * * * *", or @every 10m`
	if every, ok := strings.CutPrefix(strings.TrimSpace(s), "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil || d <= 0 {
			return fmt.Sprintf("%q is not a schedule: %s", s, hint)
		}
		return ""
	}
	if zone, found := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(s), "CRON_"), "TZ="); found {
		name, cron, _ := strings.Cut(zone, " ")
		if _, err := time.LoadLocation(name); err != nil || name == "" {
			return fmt.Sprintf("%q names no time zone of the system's database: write TZ=Europe/Berlin 0 3 * * *", s)
		}
		s = strings.TrimSpace(cron)
	}
	if strings.TrimSpace(s) == "" || !gronx.IsValid(s) {
		return fmt.Sprintf("%q is not a schedule: %s", s, hint)
	}
	if _, err := gronx.NextTickAfter(s, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), false); err != nil {
		return fmt.Sprintf("%q never comes due: %s", s, hint)
	}
	return ""
}

// checkHostName wants a bare host name: no scheme, no port, lower case, because that is what a Host field is compared with.
func checkHostName(s string) string {
	if s == "" || s != strings.ToLower(s) || strings.ContainsAny(s, "/:@ *") {
		return fmt.Sprintf("%q is not a host name in lower case, without scheme and port: write wayside.example.org", s)
	}
	return ""
}

// omitFields are the fields of archived events that nothing depends on.
var omitFields = []string{"url_path", "client_address", "upstream_address", "network_protocol_version"}

func checkOmit(name string) string {
	if slices.Contains(omitFields, name) {
		return ""
	}
	return fmt.Sprintf("%q cannot be left out: only %s can", name, strings.Join(omitFields, ", "))
}
