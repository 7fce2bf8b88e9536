package everykey

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/wayside-proxy/wayside/configs"
)

// TestEveryKeyAtItsEdges starts the real binary with each key at its limits: empty, huge and malformed values, and
// those of the key's own entry. wayside must either exit with 78 and the position of the value, or serve and record the
// response.
func TestEveryKeyAtItsEdges(t *testing.T) {
	built(t)
	upstream := origin(t)
	var cases []*trial
	add := func(mustBe outcome, k configs.Key, value string, with []string) {
		c := newTrial(t, upstream, fmt.Sprintf("%s: %.60s", k.Path, value), append(slices.Clone(with), k.Path+": "+value)...)
		c.key, c.value, c.mustBe = k.Path, c.settings[k.Path], mustBe
		cases = append(cases, c)
	}
	for _, k := range configs.Keys() {
		own, known := ofKey[k.Path]
		if !known || len(own.good) == 0 {
			t.Errorf("%s has no values at its limits: add an entry to ofKey", k.Path)
			continue
		}
		for _, value := range own.good {
			add(accepted, k, value, own.with)
		}
		for _, value := range own.bad {
			add(refused, k, value, own.with)
		}
		if ofType[k.Type] == nil {
			t.Errorf("%s has the type %q, for which ofType has no values", k.Path, k.Type)
		}
		for _, value := range ofType[k.Type] {
			add(either, k, value, own.with)
		}
	}
	cases = append(cases, elementCases(t, upstream)...)
	for name, settings := range together {
		c := newTrial(t, upstream, name, settings...)
		c.mustBe = refused
		cases = append(cases, c)
	}
	inParallel(cases, (*trial).run)
	t.Logf("%d cases", len(cases))
}

func inParallel(cases []*trial, run func(*trial)) {
	var all sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for _, c := range cases {
		free <- struct{}{}
		all.Go(func() { run(c); <-free })
	}
	all.Wait()
}
