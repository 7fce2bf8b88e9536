package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// configFileBytesMax limits the size of the file. The limit is far above the size of any real configuration, and protects against an
// endless device or pipe.
const configFileBytesMax = 4 << 20

// readFile sets the keys from a YAML file. It decodes into nodes, not into structs, because only nodes have the position of a value.
func (l *loader) readFile(name string) {
	at := origin{source: SourceFile, file: name}
	data, err := readAtMost(name, configFileBytesMax)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		l.failf(at, "", "cannot read the configuration file: %s", err)
		return
	}
	l.readYAML(name, data)
}

func (l *loader) readYAML(name string, data []byte) {
	if line, column, what := undecodable(data); what != "" {
		l.failf(origin{source: SourceFile, file: name, line: line, column: column}, "", "not valid YAML: %s: save the file as UTF-8 text", what)
		return
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		l.failf(origin{source: SourceFile, file: name}, "", "%s", err)
		return
	}
	var doc yaml.Node
	if err := loader.Load(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // EOF: the file is empty or has only comments, and sets nothing
			l.failYAML(name, err)
		}
		return
	}
	root := &doc
	if doc.Kind == yaml.DocumentNode {
		root = doc.Content[0]
	}
	if isNull(root) {
		return
	}
	if root.Kind != yaml.MappingNode {
		l.failf(place(name, root), "", "the file must contain keys, such as `upstream: http://127.0.0.1:3000`")
		return
	}
	if isManifest(root) {
		l.failf(place(name, root), "", "this is a Kubernetes manifest: check the file within it, under data of its ConfigMap")
		return
	}
	l.mapping(name, "", root)
	var second yaml.Node
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		l.failYAML(name, err)
	default:
		l.failf(place(name, &second), "", "a second document begins here: keep one in the file")
	}
}

// isManifest reports whether a document is a Kubernetes manifest: it has apiVersion and kind.
func isManifest(root *yaml.Node) bool {
	has := map[string]bool{}
	for i := 0; i < len(root.Content); i += 2 {
		has[root.Content[i].Value] = true
	}
	return has["apiVersion"] && has["kind"]
}

// undecodable finds the first bytes that are not text, because the parser does not report their position. UTF-16 is left to the parser.
func undecodable(data []byte) (line, column int, what string) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return 0, 0, ""
	}
	line, column = 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			return line, column, fmt.Sprintf("byte 0x%02x is not UTF-8", data[0])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return line, column, fmt.Sprintf("control character 0x%02x", r)
		case r == '\n':
			line, column = line+1, 0
		}
		data, column = data[size:], column+1
	}
	return 0, 0, ""
}

// failYAML reports a syntax error at the position that the parser reports.
func (l *loader) failYAML(name string, err error) {
	at := origin{source: SourceFile, file: name}
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		l.failf(at, "", "not valid YAML: %s", err)
		return
	}
	at.line, at.column = le.Mark.Line, le.Mark.Column
	if at.line > 0 && at.column == 0 {
		at.column = 1
	}
	l.failf(at, "", "not valid YAML: %s", le.Message)
}

func place(file string, n *yaml.Node) origin {
	return origin{source: SourceFile, file: file, line: n.Line, column: n.Column}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// mapping reads one section. It does not descend below an unknown key, so the depth is limited by the table of keys.
func (l *loader) mapping(file, section string, n *yaml.Node) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		path := k.Value
		if section != "" {
			path = section + "." + k.Value
		}
		if line, twice := seen[path]; twice {
			l.failf(place(file, k), path, "is given twice, first on line %d: remove one", line)
			continue
		}
		seen[path] = k.Line
		v = deref(v)
		_, isKey := l.keys[path]
		if line, twice := l.setBefore(path, v, k.Line); twice {
			l.failf(place(file, k), path, "is given twice, first on line %d: remove one", line)
			continue
		}
		switch {
		case k.Kind != yaml.ScalarNode || !isKey && !l.isSection(path):
			l.failf(place(file, k), path, "no such key%s", didYouMean(strings.TrimPrefix(path, l.within), l.known()))
		case isNull(v): // for example a section whose keys are all commented out
		case isKey:
			l.value(file, path, v)
		default:
			l.section(file, path, v)
		}
	}
}

// setBefore reports whether the file has already set a key, and on which line. `proxy.via` and `proxy: {via: …}` are the same key, and so
// are a section's shorthand and the key that it stands for.
func (l *loader) setBefore(path string, v *yaml.Node, line int) (before int, twice bool) {
	if long, short := shorthand[path]; short && v.Kind == yaml.ScalarNode {
		path = long
	}
	if _, isKey := l.keys[path]; !isKey || isNull(v) {
		return 0, false
	}
	if before, twice = l.lines[path]; !twice {
		l.lines[path] = line
	}
	return before, twice
}

// section reads a section or, if it is written as a plain value, sets the key that the plain value stands for.
func (l *loader) section(file, path string, v *yaml.Node) {
	long, short := shorthand[path]
	switch {
	case v.Kind == yaml.MappingNode:
		l.mapping(file, path, v)
	case v.Kind == yaml.ScalarNode && short:
		l.set(long, v.Value, place(file, v))
	default:
		l.failf(place(file, v), path, "is a section: write its keys below it, indented, such as %s", l.exampleKey(path))
	}
}

// value sets a key from a scalar or a list.
func (l *loader) value(file, path string, v *yaml.Node) {
	at := place(file, v)
	list, isList := l.keys[path].field.(*[]string)
	switch {
	case structured(l.keys[path].field):
		l.structure(file, path, l.keys[path].field, v)
	case path == upstreamKey && v.Kind == yaml.ScalarNode: // one server needs no list
		*list = slices.DeleteFunc([]string{v.Value}, func(s string) bool { return s == "" })
		l.origins[path] = at
	case isList && v.Kind == yaml.SequenceNode:
		values := make([]string, 0, len(v.Content))
		for _, e := range v.Content {
			e = deref(e)
			if e.Kind != yaml.ScalarNode || isNull(e) {
				l.failf(place(file, e), path, "must be a list of plain values, such as [one, two]")
				return
			}
			l.origins[elementPath(path, len(values))] = place(file, e)
			values = append(values, e.Value)
		}
		*list = values
		l.origins[path] = at
	case isList:
		l.failf(at, path, "must be a list, such as [one, two]")
	case v.Kind != yaml.ScalarNode:
		l.failf(at, path, "must be a single value (%s)", typeName(l.keys[path].field))
	default:
		l.set(path, v.Value, at)
	}
}

// elementPath returns the path of a list element, in the form that origins and errors use.
func elementPath(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func (l *loader) isSection(path string) bool {
	for k := range l.keys {
		if strings.HasPrefix(k, path+".") {
			return true
		}
	}
	return false
}

// exampleKey returns the first key in a section, without the section's name.
func (l *loader) exampleKey(section string) string {
	for _, k := range l.known() {
		if rest, ok := strings.CutPrefix(k, strings.TrimPrefix(section, l.within)+"."); ok {
			return rest
		}
	}
	return "its keys"
}

// known returns all keys and sections, sorted, without the path of the element that contains them.
func (l *loader) known() []string {
	names := map[string]bool{}
	for path := range l.keys {
		path = strings.TrimPrefix(path, l.within)
		for i, r := range path {
			if r == '.' {
				names[path[:i]] = true
			}
		}
		names[path] = true
	}
	return slices.Sorted(maps.Keys(names))
}
