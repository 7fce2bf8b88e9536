package pathbench

import (
	"strings"
	"testing"
)

func TestRequestsFitTheirTemplates(t *testing.T) {
	for _, name := range Names {
		ops, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		a, b := New(ops, Options{Seed: 1}), New(ops, Options{Seed: 1})
		noise := 0
		for range 20_000 {
			r := a.Next()
			if r != b.Next() {
				t.Fatal("the same seed leads to other requests")
			}
			if r.Template == "" {
				noise++
				continue
			}
			if !fits(r) {
				t.Fatalf("%s: %s does not fit %s", name, r.Path, r.Template)
			}
		}
		if noise < 1500 || noise > 2500 {
			t.Errorf("%s: %d of 20,000 requests are noise", name, noise)
		}
	}
}

// fits compares the literal parts of path and template. The value of a parameter may contain slashes.
func fits(r Request) bool {
	rest, first := r.Path, true
	for part := range strings.SplitSeq(r.Template, "{}") {
		i := strings.Index(rest, part)
		if i < 0 || first && i != 0 {
			return false
		}
		rest, first = rest[i+len(part):], false
	}
	return true
}

func TestScore(t *testing.T) {
	var s Score
	for _, x := range []struct{ template, label string }{
		{"/a/{}", "/a/{id}"}, {"/a/{}", "/a/{id}"}, {"/a/{}", "/a/x"}, {"/a/{}", "(other)"}, // exact twice, separate once
		{"/b", "/b"}, {"/c", "/a/{id}"}, // exact; merged into another template
		{"", "/d"}, {"", "(other)"},
	} {
		s.Add(Request{Method: "GET", Template: x.template}, x.label)
	}
	r := s.Result(func(label string) string { return label })
	want := Result{
		Requests: 6, Templates: 3, Exact: 3.0 / 6, ExactTemplates: (0.5 + 1 + 0) / 3, Over: 1.0 / 6, Under: 2.0 / 6, Other: 1.0 / 6,
		Rows: 5, NoiseRows: 1,
	}
	if r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if m := s.Misses(9, func(label string) string { return label }); len(m) != 2 || !strings.HasPrefix(m[0], "2 GET /a/{}") {
		t.Errorf("%q", m)
	}
}
