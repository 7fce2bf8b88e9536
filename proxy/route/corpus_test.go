package route

import (
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/test/routecorpus"
)

func loadCorpus(t testing.TB) *routecorpus.Corpus {
	t.Helper()
	c, err := routecorpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func conditionsOf(l *routecorpus.List) (list []Conditions) {
	for _, r := range l.Routes {
		c := Conditions{Host: r.Host, Path: r.Path, Methods: r.Methods}
		for _, h := range r.Headers {
			c.Headers = append(c.Headers, Header{h[0], h[1]})
		}
		list = append(list, c)
	}
	return list
}

// TestCorpus: every request gets the route that the corpus specifies.
func TestCorpus(t *testing.T) {
	s, cases := &Scratch{}, 0
	corpus := loadCorpus(t)
	for _, l := range corpus.Lists {
		list := mustNew(t, conditionsOf(l)...)
		for _, c := range l.Cases {
			cases++
			path, _, _ := strings.Cut(c.Target, "?")
			index, err := list.Match(&Request{Method: []byte(c.Method), Host: []byte(c.Host), Path: []byte(path), Fields: []byte(c.Fields())}, s)
			got := routecorpus.None
			switch {
			case err != nil:
				got = routecorpus.Refused
			case index != None:
				got = l.Routes[index].Name
			}
			if got != c.Want {
				t.Errorf("%s:%d: %s: %s: got %s, want %s", routecorpus.File, c.Line, l.Name, c.Text, got, c.Want)
			}
		}
	}
	if len(corpus.Lists) < 20 || cases < 200 {
		t.Errorf("%d lists and %d requests; the corpus has at least 20 and 200", len(corpus.Lists), cases)
	}
}
