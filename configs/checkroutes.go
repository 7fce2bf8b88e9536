package configs

import (
	"slices"
	"strings"

	"github.com/wayside-proxy/wayside/internal/query"
)

// routes checks that the keys of each route are consistent, and that the routes are consistent with the groups.
func (v *validator) routes() {
	c := v.c
	switch {
	case len(c.Upstream) > 0 && len(c.Routes)+len(c.Upstreams) > 0:
		v.failf(upstreamKey, "cannot be combined with routes or upstreams, which say where requests go: make it a group, upstreams: {web: %s}, and send a route to it, or remove them",
			c.Upstream[0])
	case len(c.Upstreams) > 0 && len(c.Routes) == 0 && v.sound(routesKey):
		v.failf(groupsKey, "has groups, but no route uses them: add routes: [{name: all, to: %s}]", c.Upstreams[0].Name)
	}
	names := map[string]int{}
	for i := range c.Routes {
		r, path := &c.Routes[i], elementPath(routesKey, i)
		if v.bad[path] {
			continue
		}
		if first, twice := names[r.Name]; twice && r.Name != "" {
			v.failf(path+".name", "%q is also the name of %s: choose another, because statistics are kept by name", r.Name, elementPath(routesKey, first))
		} else {
			names[r.Name] = i
		}
		v.action(r, path)
		v.targets(r, path)
		v.conditions(r, path)
		if r.Respond != nil && v.sound(path+".respond") {
			v.respond(r.Respond, path+".respond")
		}
	}
}

// action checks that a route has exactly one action, and no settings without effect.
func (v *validator) action(r *Route, path string) {
	var actions []string
	for name, isSet := range map[string]bool{"to": len(r.To) > 0 || v.bad[path+".to"], "redirect": r.Redirect != "", "respond": r.Respond != nil} {
		if isSet {
			actions = append(actions, name)
		}
	}
	slices.Sort(actions)
	switch {
	case len(actions) == 0:
		v.failf(path, "does nothing: add to: GROUP, redirect: URL or respond: {status: 503}")
		return
	case len(actions) > 1:
		v.failf(path+"."+actions[0], "cannot be combined with %s: a route has one action, so keep one of them", strings.Join(actions[1:], " and "))
		return
	case actions[0] == "to":
		return
	}
	if target, _, _ := strings.Cut(r.Redirect, "?"); strings.HasPrefix(target, "/") && v.sound(path+".redirect", path+".path") {
		there := Route{Host: r.Host, Path: target, Methods: r.Methods, Headers: r.Headers}
		if r.covers(&there) {
			v.failf(path+".redirect", "%s is a path that the route itself matches, so clients would be redirected for ever: choose another, or give the route a path", r.Redirect)
		}
	}
	for _, k := range routeKeys(r) {
		needsGroup := slices.Contains([]string{"strip_prefix", "rewrite_host", "response_timeout", "body_bytes_max"}, k.path) || strings.HasPrefix(k.path, "request_fields.")
		needsGroup = needsGroup && (k.path != "strip_prefix" || r.Redirect == "") // a redirection can also strip a prefix
		if at := path + "." + k.path; needsGroup && set(v.c, at) && filled(k.field) {
			v.failf(at, "has no effect with %s, because nothing is forwarded: leave it out", actions[0])
		}
	}
}

// targets checks that the groups of a route exist and that at least one of them can get requests.
func (v *validator) targets(r *Route, path string) {
	if len(r.To) == 0 || !v.sound(path+".to") {
		return
	}
	names := make([]string, 0, len(v.c.Upstreams))
	for _, u := range v.c.Upstreams {
		names = append(names, u.Name)
	}
	total := 0
	for _, t := range r.To {
		total += t.Weight
		at := path + ".to." + t.Upstream
		if slices.Contains(names, t.Upstream) || !v.sound(groupsKey, at) {
			continue
		}
		switch near := query.Nearest(t.Upstream, names); {
		case near != "":
			v.failf(at, "there is no group %q in upstreams: did you mean %s?", t.Upstream, near)
		default:
			v.failf(at, "there is no group %q in upstreams: add it there, %s: http://host:port", t.Upstream, t.Upstream)
		}
	}
	if total == 0 && !slices.ContainsFunc(r.To, func(t Target) bool { return v.bad[path+".to."+t.Upstream] }) {
		v.failf(path+".to", "all weights are 0, so no group would get requests: give one a weight")
	}
}

// conditions checks the header conditions of a route, and that the route's paths can begin with strip_prefix.
func (v *validator) conditions(r *Route, path string) {
	seen := map[string]bool{}
	for _, name := range headerNames(r.Headers) {
		at := path + ".headers." + name
		lower := strings.ToLower(name)
		value := r.Headers[name]
		switch {
		case checkFieldName(name) != "":
			v.failf(at, "%s", checkFieldName(name))
		case lower == "host":
			v.failf(at, "is matched by the key host: write host: there")
		case seen[lower]:
			v.failf(at, "is given twice, because field names are case-insensitive: remove one")
		case checkField(name+":"+value) != "" || strings.TrimSpace(value) != value:
			v.failf(at, "%q is not the value of a field: it begins or ends with a space, or has a control character", value)
		}
		seen[lower] = true
	}
	if !v.sound(path+".path", path+".strip_prefix") || r.StripPrefix == "" || r.Path == "" {
		return
	}
	base := strings.TrimSuffix(r.Path, "/*")
	if !strings.HasPrefix(base+"/", r.StripPrefix+"/") && (base == r.Path || !strings.HasPrefix(r.StripPrefix+"/", base+"/")) {
		v.failf(path+".strip_prefix", "%s is never at the beginning of a path that %s matches: change one of the two", r.StripPrefix, r.Path)
	}
}

func (v *validator) respond(r *Respond, path string) {
	body := path + ".body"
	if r.Body == "" {
		body = path + ".body_file"
	}
	switch {
	case r.Body != "" && r.BodyFile != "":
		v.failf(body, "cannot be combined with body_file: keep one of the two")
	case (r.Status == 204 || r.Status == 304) && r.Body+r.BodyFile != "":
		v.failf(body, "a response with status %d cannot have a body (RFC 9110, section 6.4.1): leave it out", r.Status)
	}
}
