package configs

import "go.yaml.in/yaml/v4"

// structuredNode returns the YAML node of a structured field, in the form that [loader.structure] reads.
func structuredNode(field any) *yaml.Node {
	switch f := field.(type) {
	case *[]Certificate:
		return listNode(*f, func(c *Certificate) *yaml.Node { return elementNode(certificateKeys(c)) })
	case *[]Server:
		return listNode(*f, serverNode)
	case *[]Route:
		return listNode(*f, func(r *Route) *yaml.Node { return elementNode(routeKeys(r)) })
	case *[]Upstream:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for i := range *f {
			n.Content = append(n.Content, stringNode((*f)[i].Name), elementNode(upstreamKeys(&(*f)[i])))
		}
		return emptyAsFlow(n)
	case *[]Target:
		return targetsNode(*f)
	case *map[string]string:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, name := range headerNames(*f) {
			n.Content = append(n.Content, stringNode(name), stringNode((*f)[name]))
		}
		return emptyAsFlow(n)
	case **Respond:
		if *f != nil {
			return elementNode(respondKeys(*f))
		}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
}

// listNode returns a list node with one node per element.
func listNode[T any](list []T, write func(*T) *yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range list {
		n.Content = append(n.Content, write(&list[i]))
	}
	return emptyAsFlow(n)
}

// emptyAsFlow makes an empty collection print as [] or {}, because there is no other way to write one.
func emptyAsFlow(n *yaml.Node) *yaml.Node {
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	return n
}

// elementNode returns a mapping node with the keys that are set.
func elementNode(keys []key) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range keys {
		if v := valueNode(k.field); v.Kind == yaml.ScalarNode && v.Value != "" || len(v.Content) > 0 {
			add(n, k.path, v)
		}
	}
	return emptyAsFlow(n)
}

// serverNode returns the node of a server: only its URL or, if it has a weight, a mapping.
func serverNode(s *Server) *yaml.Node {
	if s.Weight == 1 {
		return stringNode(s.URL)
	}
	return elementNode(serverKeys(s))
}

// targetsNode returns the node of a route's groups.
func targetsNode(list []Target) *yaml.Node {
	if len(list) == 1 && list[0].Weight == 1 {
		return stringNode(list[0].Upstream)
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	for _, t := range list {
		n.Content = append(n.Content, stringNode(t.Upstream), valueNode(&t.Weight))
	}
	return n
}
