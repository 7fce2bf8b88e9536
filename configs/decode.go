package configs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Structured keys are lists of mappings and named mappings. A table binds the keys of an element to its fields, like the table of all keys
// in keys.go, so elements are decoded, checked, printed and documented in the same way as other keys. In errors, `routes[0].path` is a key
// of the first route, and `upstreams.api.dns` is a key of the group api.

// structured reports whether a field has a structured form, which can only be written in the file.
func structured(field any) bool {
	switch field.(type) {
	case *[]Certificate, *[]Upstream, *[]Server, *[]Route, *[]Target, *map[string]string, **Respond:
		return true
	}
	return false
}

// structure sets a structured field.
func (l *loader) structure(file, path string, field any, n *yaml.Node) {
	l.origins[path] = place(file, n)
	switch f := field.(type) {
	case *[]Certificate:
		*f = elements(l, file, path, n, "{cert_file: FILE, key_file: FILE}", Certificate{}, certificateKeys)
	case *[]Route:
		*f = elements(l, file, path, n, "{name: all, to: GROUP}", Route{}, routeKeys)
	case *[]Server:
		*f = l.servers(file, path, n)
	case *[]Upstream:
		*f = l.groups(file, path, n)
	case *[]Target:
		*f = l.targets(file, path, n)
	case *map[string]string:
		*f = l.headers(file, path, n)
	case **Respond:
		*f = new(Respond)
		l.element(file, path, n, "{status: 503, body: TEXT}", respondKeys(*f))
	}
}

// deref returns the node that an alias refers to.
func deref(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// element sets the keys of one mapping in a structured key. form is an example of the mapping for error messages.
func (l *loader) element(file, path string, n *yaml.Node, form string, keys []key) {
	l.origins[path] = place(file, n)
	if n = deref(n); n.Kind != yaml.MappingNode {
		l.failf(l.origins[path], path, "must be a mapping, such as %s", form)
		return
	}
	sub := loader{keys: map[string]key{}, within: path + ".", origins: l.origins, bad: l.bad, lines: l.lines}
	for _, k := range below(path, keys) {
		sub.keys[k.path] = k
	}
	sub.mapping(file, path, n)
	l.errs = append(l.errs, sub.errs...)
}

// below returns the keys of an element with their full paths.
func below(path string, keys []key) []key {
	full := slices.Clone(keys)
	for i := range full {
		full[i].path = path + "." + full[i].path
	}
	return full
}

// elements decodes a list of mappings. Each element starts as a copy of standard; bind returns the keys of an element.
func elements[T any](l *loader, file, path string, n *yaml.Node, form string, standard T, bind func(*T) []key) []T {
	if n.Kind != yaml.SequenceNode {
		l.failf(place(file, n), path, "must be a list: begin each element with - , such as - %s", form)
		return nil
	}
	if !l.mayHave(file, path, n, len(n.Content)) {
		return nil
	}
	list := make([]T, len(n.Content))
	for i, e := range n.Content {
		list[i] = standard
		l.element(file, elementPath(path, i), e, form, bind(&list[i]))
	}
	return list
}

// mayHave reports whether a structured key may have count elements, and fails if it may not.
func (l *loader) mayHave(file, path string, n *yaml.Node, count int) bool {
	most := listElementsMax
	switch {
	case path == groupsKey:
		most = groupsMax
	case strings.HasSuffix(path, ".servers"), strings.HasSuffix(path, ".to"):
		most = serversMax
	case strings.HasSuffix(path, ".headers"):
		most = headersMax
	}
	if count > most {
		l.failf(place(file, n), path, "has %d elements: the maximum is %d", count, most)
	}
	return count <= most
}

// servers decodes a list whose elements are URLs or mappings.
func (l *loader) servers(file, path string, n *yaml.Node) []Server {
	if n.Kind != yaml.SequenceNode {
		l.failf(place(file, n), path, "must be a list, such as [http://10.0.0.7:8080, {url: http://10.0.0.8:8080, weight: 2}]")
		return nil
	}
	if !l.mayHave(file, path, n, len(n.Content)) {
		return nil
	}
	list := make([]Server, len(n.Content))
	for i, e := range n.Content {
		list[i].Weight = 1
		at := elementPath(path, i)
		if v := deref(e); v.Kind == yaml.ScalarNode && !isNull(v) {
			list[i].URL, l.origins[at] = v.Value, place(file, e)
			continue
		}
		l.element(file, at, e, "{url: http://10.0.0.8:8080, weight: 2}, or a URL", serverKeys(&list[i]))
	}
	return list
}

// named calls each for the entries of a mapping whose names the operator chooses.
func (l *loader) named(file, path string, n *yaml.Node, form string, each func(name string, k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		l.failf(place(file, n), path, "must be a mapping, such as %s", form)
		return
	}
	if !l.mayHave(file, path, n, len(n.Content)/2) {
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := deref(n.Content[i]), deref(n.Content[i+1])
		name := k.Value
		if k.Kind != yaml.ScalarNode {
			l.failf(place(file, n.Content[i]), path, "must have plain names, such as %s", form)
			continue
		}
		if line, twice := seen[name]; twice {
			l.failf(place(file, n.Content[i]), path+"."+name, "is given twice, first on line %d: remove one, or choose another name", line)
			continue
		}
		seen[name] = n.Content[i].Line
		each(name, n.Content[i], v)
	}
}

// groups decodes the named groups. A group with only one server may be written as that server's URL.
func (l *loader) groups(file, path string, n *yaml.Node) []Upstream {
	list := make([]Upstream, 0, len(n.Content)/2) // must not be reallocated: the tables point to its elements
	const form = "{web: http://10.0.0.5:3000}"
	l.named(file, path, n, form, func(name string, k, v *yaml.Node) {
		list = append(list, DefaultUpstream())
		u, at := &list[len(list)-1], groupPath(name)
		u.Name = name
		switch {
		case v.Kind == yaml.ScalarNode && !isNull(v):
			u.Servers = []Server{{URL: v.Value, Weight: 1}}
			l.origins[at+".servers"] = place(file, v)
			l.origins[elementPath(at+".servers", 0)] = place(file, v)
		case isNull(v):
			l.failf(place(file, k), at, "has neither servers nor dns: write a URL, or servers: below it")
		default:
			l.element(file, at, v, "{servers: [http://10.0.0.7:8080]}, or a URL", upstreamKeys(u))
		}
		l.origins[at] = place(file, k)
	})
	return list
}

// targets decodes the name of a group, or several names with weights.
func (l *loader) targets(file, path string, n *yaml.Node) (list []Target) {
	if n.Kind == yaml.ScalarNode {
		return []Target{{Upstream: n.Value, Weight: 1}}
	}
	l.named(file, path, n, "{api: 90, web: 10}, or one name", func(name string, k, v *yaml.Node) {
		t := Target{Upstream: name}
		at := place(file, v)
		if v.Kind != yaml.ScalarNode || setText(&t.Weight, v.Value) != nil {
			l.failf(at, path+"."+name, "must be a weight: write a whole number from 0 to %d", weightMax)
		} else if msg := between(0, weightMax).problem(&t.Weight); msg != "" {
			l.failf(at, path+"."+name, "%s", msg)
		}
		l.origins[path+"."+name] = place(file, k)
		list = append(list, t)
	})
	return list
}

// headersMax is the largest number of header conditions of a route.
const headersMax = 32

// headers decodes the header fields that a route requires.
func (l *loader) headers(file, path string, n *yaml.Node) map[string]string {
	headers := map[string]string{}
	l.named(file, path, n, "{X-Beta: \"1\"}", func(name string, k, v *yaml.Node) {
		if v.Kind != yaml.ScalarNode || isNull(v) {
			l.failf(place(file, v), path+"."+name, "must be a value in quotes, such as \"1\"")
			return
		}
		l.origins[path+"."+name] = place(file, k)
		headers[name] = v.Value
	})
	return headers
}

// headerNames returns the names of a route's header conditions, sorted.
func headerNames(headers map[string]string) []string { return slices.Sorted(maps.Keys(headers)) }

// inFileOnly returns the error for a structured key that the environment or a flag sets.
func inFileOnly() error {
	return fmt.Errorf("can only be set in a file: write it into the file that --config or WAYSIDE_CONFIG names")
}
