package paths

import (
	"testing"

	"github.com/wayside-proxy/wayside/test/pathbench"
)

// BenchmarkLearnt labels the traffic of a large API after learning. One iteration is one request.
func BenchmarkLearnt(b *testing.B) {
	ops, err := pathbench.Load("github")
	if err != nil {
		b.Fatal(err)
	}
	g := pathbench.New(ops, pathbench.Options{Seed: 1})
	l := newLabeler(b, Options{})
	host := []byte("api.example.com")
	for range 200_000 {
		r := g.Next()
		rowOf(l, host, []byte(r.Method), []byte(r.Path), r.Status)
	}
	requests := make([]pathbench.Request, 1<<16)
	for i := range requests {
		requests[i] = g.Next()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := &requests[i%len(requests)]
		rowOf(l, host, []byte(r.Method), []byte(r.Path), r.Status)
	}
}
