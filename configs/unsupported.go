package configs

import (
	"slices"
	"strings"
)

// This file lists keys that this version can parse but does not act on. A configuration that sets one is refused, because wayside would
// otherwise run without what the configuration asks for. Remove a line from the lists when its feature is built.

// unsupportedKeys are prefixes of keys, in the form that [ElementKeys] uses: routes[].auth_file, upstreams.NAME.dns.
var unsupportedKeys = []string{}

// unsupportedServers are forms of server URLs, in `upstream` and in groups.
var unsupportedServers = []struct {
	what string
	has  func(servers []string) bool
}{
	{"h2c:// is", anyScheme("h2c://")},
}

func anyScheme(prefix string) func([]string) bool {
	return func(servers []string) bool {
		return slices.ContainsFunc(servers, func(s string) bool { return strings.HasPrefix(s, prefix) })
	}
}

func isUnsupported(pattern string) bool { return hasAnyPrefix(pattern, unsupportedKeys) }

// unsupported refuses keys and values that are set although this version does not support them. Each line of the lists is reported once.
func (v *validator) unsupported() {
	reported := map[string]bool{}
	refuse := func(k key, pattern string) {
		_, isSet := v.c.origins[k.path]
		if i := slices.IndexFunc(unsupportedKeys, func(p string) bool { return strings.HasPrefix(pattern, p) }); isSet && i >= 0 && !reported[unsupportedKeys[i]] {
			reported[unsupportedKeys[i]] = true
			v.failf(k.path, "is not supported in this version: leave it out")
		}
	}
	for _, k := range table(v.c) {
		if filled(k.field) {
			refuse(k, k.path)
		}
	}
	for _, k := range elementKeys(v.c) {
		refuse(k.key, k.pattern)
	}
	v.unsupportedServers(upstreamKey, v.c.Upstream)
	for _, u := range v.c.Upstreams {
		servers := make([]string, 0, len(u.Servers))
		for _, s := range u.Servers {
			servers = append(servers, s.URL)
		}
		v.unsupportedServers(groupPath(u.Name)+".servers", servers)
	}
}

func (v *validator) unsupportedServers(path string, servers []string) {
	for _, form := range unsupportedServers {
		if form.has(servers) && v.sound(path) {
			v.failf(path, "%s not supported in this version: write http://host:port, https://host:port or unix:///path", form.what)
		}
	}
}
