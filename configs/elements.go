package configs

import "slices"

// elementKey is a key of an element in a structured key.
type elementKey struct {
	key            // the path contains the element's number or name: routes[0].path, upstreams.api.dns
	pattern string // path in the documentation: routes[].path, upstreams.NAME.dns
}

// keysOf returns the keys of one element.
func keysOf(path, pattern string, keys []key) []elementKey {
	list := make([]elementKey, len(keys))
	for i, k := range below(path, keys) {
		list[i] = elementKey{k, pattern + "." + keys[i].path}
	}
	return list
}

// elementKeys returns the keys of all elements in a configuration.
func elementKeys(c *Config) (list []elementKey) {
	for i := range c.TLS.Certificates {
		list = append(list, keysOf(elementPath("tls.certificates", i), "tls.certificates[]", certificateKeys(&c.TLS.Certificates[i]))...)
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		list = append(list, keysOf(groupPath(u.Name), groupsKey+".NAME", upstreamKeys(u))...)
		for j := range u.Servers {
			list = append(list, keysOf(elementPath(groupPath(u.Name)+".servers", j), groupsKey+".NAME.servers[]", serverKeys(&u.Servers[j]))...)
		}
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		path := elementPath(routesKey, i)
		list = append(list, keysOf(path, routesKey+"[]", routeKeys(r))...)
		if r.Respond != nil {
			list = append(list, keysOf(path+".respond", routesKey+"[].respond", respondKeys(r.Respond))...)
		}
	}
	return list
}

// sample returns a configuration with one element of each kind. It is used to document the keys of elements.
func sample() *Config {
	c := Default()
	c.TLS.Certificates = []Certificate{{}}
	u := DefaultUpstream()
	u.Name, u.Servers = "NAME", []Server{{Weight: 1}}
	c.Upstreams = []Upstream{u}
	c.Routes = []Route{{Respond: &Respond{}}}
	return &c
}

// ElementKeys returns the keys that elements of structured keys can have, in the order of the documentation. They can only be set in the
// file, so Env and Flag are empty.
func ElementKeys() []Key {
	list := elementKeys(sample())
	keys := make([]Key, 0, len(list))
	for _, k := range list {
		keys = append(keys, Key{
			Path: k.pattern, Type: typeName(k.field), Allowed: k.check.allowed, Default: text(k.field), Doc: k.doc,
			Effect: effectOf(k.pattern),
		})
	}
	return keys
}

// filled reports whether a field has a value other than its empty one.
func filled(field any) bool {
	switch f := field.(type) {
	case *[]Certificate:
		return len(*f) > 0
	case *[]Upstream:
		return len(*f) > 0
	case *[]Route:
		return len(*f) > 0
	case **Duration:
		return *f != nil
	case **Bytes:
		return *f != nil
	}
	return !structured(field) && !slices.Contains([]string{"", "false", "0", "0s"}, text(field))
}
