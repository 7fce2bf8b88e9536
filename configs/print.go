package configs

import (
	"embed"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

//go:embed sidecar.yaml standalone.yaml edge.yaml snapshot.yaml full.yaml kubernetes.yaml kubernetes-volume.yaml
var examples embed.FS

// Examples returns the names of the example files.
func Examples() []string {
	return []string{"sidecar", "standalone", "edge", "snapshot", "full", "kubernetes", "kubernetes-volume"}
}

// Example returns the example file with that name, or nil if there is none. The examples for Kubernetes are manifests; the others are
// configuration files.
func Example(kind string) []byte {
	data, _ := examples.ReadFile(kind + ".yaml") // the only error is that there is no such file
	return data
}

// Print writes the configuration as YAML that Load accepts, without secrets. Each value that is not at its default has a comment that says
// where it was set.
func Print(w io.Writer, c *Config) error {
	return write(w, c, func(k key) (head, line string) {
		if s, ok := k.field.(*Secret); ok && *s != "" {
			return "", "set, not shown"
		}
		o, ok := c.origins[k.path]
		switch {
		case !ok:
			return "", ""
		case o.source == SourceFile:
			return "", fmt.Sprintf("%s:%d", o.file, o.line)
		}
		return "", o.name
	})
}

// write writes c as nested YAML in the order of the table of keys. notes returns the comments to put above a key and after its value.
func write(w io.Writer, c *Config, notes func(key) (head, line string)) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range table(c) {
		node := valueNode(k.field)
		if k.path == upstreamKey && len(c.Upstream) < 2 {
			node = stringNode(text(k.field))
		}
		name, value := add(root, k.path, node)
		head, line := notes(k)
		name.HeadComment = head
		if value.Kind != yaml.ScalarNode && value.Style != yaml.FlowStyle {
			name.LineComment = line
		} else {
			value.LineComment = line
		}
	}
	out, err := yaml.Dump(root, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// add inserts a value below the sections that its path names.
func add(root *yaml.Node, path string, value *yaml.Node) (name, v *yaml.Node) {
	parts := strings.Split(path, ".")
	section := root
	for _, name := range parts[:len(parts)-1] {
		section = child(section, name)
	}
	name = &yaml.Node{Kind: yaml.ScalarNode, Value: parts[len(parts)-1]}
	section.Content = append(section.Content, name, value)
	return name, value
}

// child returns the mapping below a key, which it creates if necessary.
func child(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	m := &yaml.Node{Kind: yaml.MappingNode}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, m)
	return m
}

func valueNode(field any) *yaml.Node {
	if structured(field) {
		return structuredNode(field)
	}
	switch p := field.(type) {
	case *[]string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, s := range *p {
			n.Content = append(n.Content, stringNode(s))
		}
		return n
	case *bool, *int, *Duration, *Bytes, *Percent, **Duration, **Bytes:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: text(field)}
	case *Secret:
		return stringNode("")
	}
	return stringNode(text(field))
}

// stringNode returns a node that is quoted only if the unquoted form would not be read as text.
func stringNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}
