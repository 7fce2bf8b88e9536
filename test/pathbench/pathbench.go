// Package pathbench generates requests with known path templates, to measure how well templates are recognized.
//
// An API is a list of operations (testdata/*.txt), one per line: method and template, with the kind of each parameter in its braces.
// Requests are distributed like real traffic: operations and the values of parameters follow Zipf distributions over populations of
// realistic owners, repositories, slugs, numbers and hashes. Some of the requests are noise from scanners. The same seed gives the same
// requests.
//
// The lists are: github, extracted (package extract) from GitHub's public OpenAPI description, npm @octokit/openapi 23.0.2
// (MIT); kubernetes and payments, written in the style of two public APIs; shop, which is fictional.
package pathbench

import (
	"embed"
	"fmt"
	"math/rand/v2"
	"strings"
)

//go:embed testdata
var data embed.FS

// Names lists the APIs of this package.
var Names = []string{"github", "shop", "payments", "kubernetes"}

// Operation is a method and a path template.
type Operation struct {
	Method   string
	Template string // template with "{}" for parameters; the label of a request is compared with it
	segments []segment
}

// segment is literal text or a parameter.
type segment struct {
	literal    string
	name, kind string // name and kind of a parameter; kind is empty for literal text
}

// Load reads a list.
func Load(name string) ([]Operation, error) {
	body, err := data.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		return nil, fmt.Errorf("unknown API %q: %w", name, err)
	}
	return Read(name, body)
}

// Read parses some other list, such as one that the command extract made from an OpenAPI description.
func Read(name string, body []byte) ([]Operation, error) {
	var out []Operation
	for line := range strings.Lines(string(body)) {
		method, path, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.Count(path, "{") != strings.Count(path, "}") {
			return nil, fmt.Errorf("API %s: line %q is not a method and a path", name, line)
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

// Options describe the traffic. Zero values mean the defaults.
type Options struct {
	Seed      uint64
	Noise     float64 // share of requests that come from scanners, 0.1 by default; negative for none
	Operation float64 // exponent of the Zipf distribution of the operations, 1.05 by default
	Values    int     // number of names in a population, 2000 by default
}

// Request is one request with its true template.
type Request struct {
	Method, Path string
	Template     string // "" for noise
	Status       uint16
}

// Generator generates random requests. It is not safe for concurrent use.
type Generator struct {
	o      Options
	r      *rand.Rand
	ops    []Operation // operations, most popular first
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
		zipf: rand.NewZipf(r, o.Operation, 8, uint64(len(ops)-1)),
	}
}

// Next returns the next request.
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

// status returns a success in most cases; about one response in twelve is an error.
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
