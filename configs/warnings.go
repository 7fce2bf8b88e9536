package configs

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// expiryWarning is how long before their expiry certificates cause a warning.
const expiryWarning = 14 * 24 * time.Hour

// Warnings returns mistakes that are probable but harmless: routes that can never match, groups that no route uses, certificates that
// will expire soon, and settings for OTLP that have no effect. Each warning has the position of its key.
func (c *Config) Warnings() []*Error {
	var list []*Error
	warn := func(key, format string, args ...any) {
		list = append(list, c.origins.error(key, fmt.Sprintf(format, args...)))
	}
	used := map[string]bool{}
	for i := range c.Routes {
		r := &c.Routes[i]
		for _, t := range r.To {
			used[t.Upstream] = used[t.Upstream] || t.Weight > 0
		}
		if first := slices.IndexFunc(c.Routes[:i], func(earlier Route) bool { return earlier.covers(r) }); first >= 0 {
			warn(elementPath(routesKey, i), "route %s can never match, because route %s before it takes all of its requests: change their order or conditions", r.Name, c.Routes[first].Name)
		}
	}
	for _, u := range c.Upstreams {
		if !used[u.Name] {
			warn(groupPath(u.Name), "no route sends requests to group %s: add one that does, or remove the group", u.Name)
		}
	}
	for path, end := range c.expiries {
		if time.Until(end) < expiryWarning {
			warn(path, "the certificate expires on %s: renew it", end.UTC().Format(time.DateOnly))
		}
	}
	c.otlpWarnings(warn)
	sortByPlace(list)
	return list
}

// covers reports whether r matches every request that a later route matches.
func (r *Route) covers(later *Route) bool {
	if !coversHost(r.Host, later.Host) || !coversPath(r.Path, later.Path) {
		return false
	}
	if len(r.Methods) > 0 && (len(later.Methods) == 0 || slices.ContainsFunc(later.Methods, func(m string) bool { return !slices.Contains(r.Methods, m) })) {
		return false
	}
	for name, value := range r.Headers {
		if !slices.ContainsFunc(headerNames(later.Headers), func(n string) bool { return strings.EqualFold(n, name) && later.Headers[n] == value }) {
			return false
		}
	}
	return true
}

func coversHost(host, later string) bool {
	if host == "" || host == later {
		return true
	}
	below, wildcard := strings.CutPrefix(host, "*")
	return wildcard && strings.HasSuffix(later, below)
}

// coversPath reports whether every request target that matches the path later also matches path. An empty path matches every target,
// including the "*" of OPTIONS, which no other path matches.
func coversPath(path, later string) bool {
	base, prefix := strings.CutSuffix(path, "/*")
	return path == "" || path == later || prefix && later != "" && strings.HasPrefix(later+"/", base+"/")
}
