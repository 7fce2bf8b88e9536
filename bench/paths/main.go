// Command paths measures how well path templates are recognised: requests whose template is known go through
// collector/paths as the drain loop would send them, with no configuration, and through two simpler rules.
//
//	go run ./bench/paths                    all APIs, three seeds
//	go run ./bench/paths -api github -misses 20
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/internal/pathbench"
)

func main() {
	api := flag.String("api", strings.Join(pathbench.Names, ","), "APIs, separated by commas")
	requests := flag.Int("requests", 500_000, "requests per run")
	seeds := flag.Int("seeds", 3, "runs per API")
	noise := flag.Float64("noise", 0.1, "share of requests that are a scanner's")
	misses := flag.Int("misses", 0, "show so many templates that came out wrong")
	flag.Parse()
	fmt.Println("| API | seed | rule | requests exact | templates exact | over-merged | under-merged | (other) | rows | of noise | ns/request | bytes/row |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|")
	for name := range strings.SplitSeq(*api, ",") {
		ops, err := pathbench.Load(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "paths:", err)
			os.Exit(2)
		}
		for seed := range *seeds {
			o := pathbench.Options{Seed: uint64(seed + 1), Noise: *noise} //nolint:gosec // not negative
			for _, r := range rules(*misses) {
				r.measure(name, pathbench.New(ops, o), *requests, seed+1)
			}
		}
	}
}

// rule is a way to give labels.
type rule struct {
	name   string
	label  func(r pathbench.Request) string
	final  func(label string) string // what a label is shown as in the end
	misses int
}

func rules(misses int) []rule {
	same := func(label string) string { return label }
	labeler, err := paths.New(paths.Options{})
	if err != nil {
		panic(err) // cannot be: no templates are configured
	}
	return []rule{
		{name: "numbers and UUIDs", label: func(r pathbench.Request) string { return pathbench.NumbersAndUUIDs(r.Path) }, final: same},
		{name: "wayside", misses: misses, final: same, label: func(r pathbench.Request) string {
			_, _, label := labeler.Label([]byte("api.example.com"), []byte(r.Method), []byte(r.Path), r.Status)
			return label
		}},
	}
}

// measure draws requests, labels them, and prints a line of the table. Drawing is not timed.
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
	fmt.Printf("| %s | %d | %s | %.2f %% | %.2f %% | %.2f %% | %.2f %% | %.2f %% | %d | %d | %.0f | %s |\n", api, seed, r.name,
		100*res.Exact, 100*res.ExactTemplates, 100*res.Over, 100*res.Under, 100*res.Other, res.Rows, res.NoiseRows,
		float64(took.Nanoseconds())/float64(n), r.memory(res.Rows))
	for _, miss := range score.Misses(r.misses, r.final) {
		fmt.Println("  ", miss)
	}
}

// memory is what the heap shrinks by when the rule is let go, per row.
func (r *rule) memory(rows int) string {
	if r.name != "wayside" || rows == 0 {
		return "–"
	}
	with := heap()
	r.label = nil
	return fmt.Sprint((int64(with) - int64(heap())) / int64(rows)) //nolint:gosec // sizes of heaps
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
