// Package pathbench makes requests whose path template is known, to measure how well templates are recognised.
//
// An API is a list of operations (testdata/*.txt), one a line: method and template, with the kind of each parameter in its
// braces. Requests are drawn from it with the skew that real traffic has: operations and the values of parameters follow
// Zipf distributions over populations of realistic owners, repositories, slugs, numbers and hashes; among them is the noise
// of scanners. The same seed gives the same requests.
//
// The lists are: github, extracted (package extract) from GitHub's public OpenAPI description, npm @octokit/openapi 23.0.2
// (MIT); kubernetes and payments, written down in the shape of two public APIs; shop, made up.
package pathbench

import (
	"embed"
	"fmt"
	"math/rand/v2"
	"strings"
)

//go:embed testdata
var data embed.FS

// Names are the APIs that Load knows.
var Names = []string{"github", "shop", "payments", "kubernetes"}

// Operation is a method and a path template.
type Operation struct {
	Method   string
	Template string // parameters as "{}": what the result is compared with
	segments []segment
}

// segment is literal text or a parameter.
type segment struct {
	literal    string
	name, kind string // of a parameter; kind is empty for literal text
}

// Load reads a list.
func Load(name string) ([]Operation, error) {
	body, err := data.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		return nil, fmt.Errorf("no API %q: %w", name, err)
	}
	return Read(name, body)
}

// Read reads a list that is not one of Names, such as package extract makes of an OpenAPI description.
func Read(name string, body []byte) ([]Operation, error) {
	var out []Operation
	for line := range strings.Lines(string(body)) {
		method, path, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.Count(path, "{") != strings.Count(path, "}") {
			return nil, fmt.Errorf("API %s: line %q", name, line)
		}
		out = append(out, parse(method, path))
	}
	return out, nil
}

func parse(method, path string) Operation {
	op := Operation{Method: method}
	for path != "" {
		open := strings.IndexByte(path, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(path, '}')
		name, kind, _ := strings.Cut(path[open+1:end], ":")
		op.segments = append(op.segments, segment{literal: path[:open]}, segment{name: name, kind: kind})
		op.Template += path[:open] + "{}"
		path = path[end+1:]
	}
	op.segments = append(op.segments, segment{literal: path})
	op.Template += path
	return op
}

// Options say what traffic is like; the zero value means the defaults named.
type Options struct {
	Seed      uint64
	Noise     float64 // share of requests that are a scanner's, default 0.1; negative for none
	Operation float64 // exponent of the operations' Zipf distribution, default 1.05
	Values    int     // names in a population, default 2000
}

// Request is one request and the truth about it.
type Request struct {
	Method, Path string
	Template     string // "" for noise
	Status       uint16
}

// Generator draws requests. It is not safe for concurrent use.
type Generator struct {
	o      Options
	r      *rand.Rand
	ops    []Operation // in the order of their popularity
	zipf   *rand.Zipf
	values *values
}

// New returns a generator for an API's operations.
func New(ops []Operation, o Options) *Generator {
	if o.Noise == 0 {
		o.Noise = 0.1
	}
	if o.Operation == 0 {
		o.Operation = 1.05
	}
	if o.Values == 0 {
		o.Values = 2000
	}
	r := rand.New(rand.NewPCG(o.Seed, 0x70617468))
	ops = append([]Operation(nil), ops...)
	r.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
	return &Generator{
		o: o, r: r, ops: ops, values: newValues(r, o.Values),
		zipf: rand.NewZipf(r, o.Operation, 8, uint64(len(ops)-1)), //nolint:gosec // not negative
	}
}

// Next draws a request.
func (g *Generator) Next() Request {
	if g.r.Float64() < g.o.Noise {
		return Request{Method: "GET", Path: g.values.noise(), Status: 404}
	}
	op := &g.ops[g.zipf.Uint64()]
	var path strings.Builder
	g.values.begin()
	for _, s := range op.segments {
		if s.kind == "" {
			path.WriteString(s.literal)
			continue
		}
		path.WriteString(g.values.draw(s.name, s.kind))
	}
	return Request{Method: op.Method, Path: path.String(), Template: op.Template, Status: g.status(op.Method)}
}

// status is mostly success; about one response in twelve says that this very thing does not exist or is not allowed.
func (g *Generator) status(method string) uint16 {
	switch n := g.r.IntN(100); {
	case n < 4:
		return 404
	case n < 6:
		return 401
	case n < 7:
		return 422
	case n < 8:
		return 500
	case n < 14:
		return 304
	case method == "DELETE":
		return 204
	case method == "POST":
		return 201
	}
	return 200
}
