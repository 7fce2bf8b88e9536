// Command extract turns an OpenAPI description (JSON) into a list of operations for package pathbench: one line per operation,
// with the kind of each path parameter in its braces.
//
//	npm pack @octokit/openapi@23.0.2 && tar xzf octokit-openapi-23.0.2.tgz
//	go run ./test/pathbench/extract package/generated/api.github.com.json >test/pathbench/testdata/github.txt
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

type document struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Parameters map[string]parameter `json:"parameters"`
		Schemas    map[string]schema    `json:"schemas"`
	} `json:"components"`
}

type parameter struct {
	Ref    string `json:"$ref"`
	Name   string `json:"name"`
	In     string `json:"in"`
	Schema schema `json:"schema"`
}

type schema struct {
	Ref  string `json:"$ref"`
	Type any    `json:"type"`
	Enum []any  `json:"enum"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: extract FILE.json")
		os.Exit(2)
	}
	body, err := os.ReadFile(os.Args[1])
	var d document
	if err == nil {
		err = json.Unmarshal(body, &d)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "extract:", err)
		os.Exit(1)
	}
	var lines []string
	for path, item := range d.Paths {
		for method, raw := range item {
			if slices.Contains([]string{"get", "post", "put", "patch", "delete", "head"}, method) {
				lines = append(lines, strings.ToUpper(method)+" "+d.annotate(path, item["parameters"], raw))
			}
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
}

// annotate adds the kind of each parameter to its name: int, str, or the values of an enumeration.
func (d *document) annotate(path string, shared, operation json.RawMessage) string {
	var own struct {
		Parameters []parameter `json:"parameters"`
	}
	var parameters []parameter
	_ = json.Unmarshal(shared, &parameters) // most paths have no shared parameters
	_ = json.Unmarshal(operation, &own)
	for _, p := range append(parameters, own.Parameters...) {
		if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = d.Components.Parameters[name]
		}
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", "{"+p.Name+":"+d.kind(p.Schema)+"}")
		}
	}
	return path
}

func (d *document) kind(s schema) string {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		s = d.Components.Schemas[name]
	}
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprint(v))
		}
		return strings.Join(values, "|")
	}
	if s.Type == "integer" {
		return "int"
	}
	return "str"
}
