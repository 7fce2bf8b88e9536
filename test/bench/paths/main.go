// Command paths measures how well path templates are recognized. It sends requests with known templates through collector/paths, in the
// same way as the drain loop but without any configuration, and through two simpler rules.
//
//	go run ./test/bench/paths                    all APIs, three seeds
//	go run ./test/bench/paths -api github -misses 20
//	go run ./test/bench/paths -api other.txt     another API: go run ./test/pathbench/extract OPENAPI.json >other.txt
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/test/pathbench"
)

func main() {
	api := flag.String("api", strings.Join(pathbench.Names, ","), "APIs or files with lists of operations, separated by commas")
	requests := flag.Int("requests", 500_000, "requests per run")
	seeds := flag.Int("seeds", 3, "runs per API")
	noise := flag.Float64("noise", 0.1, "share of requests that come from a scanner")
	misses := flag.Int("misses", 0, "number of wrongly recognised templates to show")
	flag.Parse()
	fmt.Println("| API | seed | rule | requests exact | templates exact | over-merged | under-merged | (other) | rows | of noise | ns/request | bytes/row |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|")
	for name := range strings.SplitSeq(*api, ",") {
		ops, err := load(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "paths:", err)
			os.Exit(2)
		}
		for seed := range *seeds {
			o := pathbench.Options{Seed: uint64(seed + 1), Noise: *noise}
			list := rules(*misses)
			for i := range list {
				list[i].measure(name, pathbench.New(ops, o), *requests, seed+1)
			}
		}
	}
}

// load returns the operations of an API. It accepts the name of a built-in API, or of a file that test/pathbench/extract made from some
// other description.
func load(name string) ([]pathbench.Operation, error) {
	if !strings.HasSuffix(name, ".txt") {
		return pathbench.Load(name)
	}
	body, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return pathbench.Read(name, body)
}

// rule is a way of choosing labels.
type rule struct {
	name   string
	label  func(r pathbench.Request) string
	final  func(label string) string // returns the template under which a label is shown at the end
	learnt func() (learnt, likely []string)
	misses int
}

func rules(misses int) []rule {
	same := func(label string) string { return label }
	return []rule{
		{name: "numbers and UUIDs", label: func(r pathbench.Request) string { return pathbench.NumbersAndUUIDs(r.Path) }, final: same},
		wayside("no learning", paths.Options{LearnOff: true}, 0),
		wayside("wayside", paths.Options{}, misses),
	}
}

const host = "api.example.com"

func wayside(name string, o paths.Options, misses int) rule {
	labeler, err := paths.New(o)
	if err != nil {
		panic(err) // cannot happen without configured templates
	}
	return rule{
		name: name, misses: misses,
		label: func(r pathbench.Request) string {
			label := labeler.Label(&event.Event{Host: []byte(host), Method: []byte(r.Method), Path: []byte(r.Path), Status: r.Status}).Label
			return label
		},
		final:  func(label string) string { return labeler.Rules().Label(host, label) },
		learnt: func() ([]string, []string) { return labeler.Learnt() },
	}
}

// measure generates random requests, labels them, and prints a line of the table. The measured time does not include the generation.
func (r *rule) measure(api string, g *pathbench.Generator, n, seed int) {
	var score pathbench.Score
	var took time.Duration
	chunk := make([]pathbench.Request, 10_000)
	labels := make([]string, len(chunk))
	for done := 0; done < n; done += len(chunk) {
		for i := range chunk {
			chunk[i] = g.Next()
		}
		started := time.Now()
		for i := range chunk {
			labels[i] = r.label(chunk[i])
		}
		took += time.Since(started)
		for i := range chunk {
			score.Add(chunk[i], labels[i])
		}
	}
	res := score.Result(r.final)
	misses := score.Misses(r.misses, r.final)
	var learnt, likely []string
	if r.misses > 0 {
		learnt, likely = r.learnt()
	}
	memory := r.memory(res.Rows)
	fmt.Printf("| %s | %d | %s | %.2f %% | %.2f %% | %.2f %% | %.2f %% | %.2f %% | %d | %d | %.0f | %s |\n", api, seed, r.name,
		100*res.Exact, 100*res.ExactTemplates, 100*res.Over, 100*res.Under, 100*res.Other, res.Rows, res.NoiseRows,
		float64(took.Nanoseconds())/float64(n), memory)
	if r.misses > 0 {
		fmt.Println("  learnt:", learnt, "\n  likely:", likely)
	}
	for _, miss := range misses {
		fmt.Println("  ", miss)
	}
}

// memory returns the number of bytes per row by which the heap shrinks when the rule is released.
func (r *rule) memory(rows int) string {
	if r.learnt == nil || rows == 0 {
		return "–"
	}
	with := heap()
	r.label, r.final, r.learnt = nil, nil, nil
	return fmt.Sprint((int64(with) - int64(heap())) / int64(rows))
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
