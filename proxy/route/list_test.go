package route

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func mustNew(t testing.TB, list ...Conditions) *List {
	t.Helper()
	l, err := New(list)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestRefusedConditions: a condition that no request could meet is an error.
func TestRefusedConditions(t *testing.T) {
	for _, c := range []Conditions{
		{Path: "api"},
		{Path: "*"},
		{Path: "/a//b"},
		{Path: "/a/./b"},
		{Path: "/a/../b"},
		{Path: "/a%20b"},
		{Path: "/a;b"},
		{Path: `/a\b`},
		{Path: "/a?b"},
		{Path: "/a/*/b"},
		{Path: "/a*"},
		{Path: "/a//*"},
		{Path: "/a/.."},
		{Path: "/.", Host: "a"},
		{Path: "/a\x00"},
		{Path: "/a#b"},
		{Host: "*"},
		{Host: "*."},
		{Host: "a.*.b"},
		{Host: "a..b"},
		{Host: ".a"},
		{Host: "a:80"},
		{Host: "a%2eb"},
		{Host: "a/b"},
		{Host: "[::1"},
		{Host: "[a]"},
		{Headers: []Header{{"", "x"}}},
		{Headers: []Header{{"X", " x"}}},
		{Headers: []Header{{"X", "a\nb"}}},
	} {
		if _, err := New([]Conditions{{}, c}); err == nil || !strings.HasPrefix(err.Error(), "route 2: ") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Conditions{{Path: "/"}, {Path: "/*"}, {Path: "/a/"}, {Path: "/..a/..."}, {Host: "*.a"}, {Host: "A.b."}, {Host: "::1"}, {Host: "[::1]"}, {Path: "/ü b/*"}} {
		if _, err := New([]Conditions{c}); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// hostile returns requests that try to make matching expensive.
func hostile() map[string]*Request {
	manyFields := bytes.Repeat([]byte("X: y\r\n"), 5000)
	return map[string]*Request{
		"plain":       {Method: []byte("GET"), Host: []byte("example.org"), Path: []byte("/items/42/detail")},
		"dots":        {Method: []byte("GET"), Host: []byte("example.org"), Path: append(bytes.Repeat([]byte("/a%2fb"), 330), "/../%2e%2e/.%2e/x"...)},
		"readings":    {Method: []byte("GET"), Host: []byte("example.org"), Path: append([]byte("/x%2f;y%5c/%252f"), bytes.Repeat([]byte("z"), 2000)...)},
		"parents":     {Method: []byte("GET"), Host: []byte("example.org"), Path: append(bytes.Repeat([]byte("/a;/"), 500), "../../.."...)},
		"many fields": {Method: []byte("GET"), Host: []byte("example.org"), Path: []byte("/h"), Fields: manyFields},
		"encoded":     {Method: []byte("GET"), Host: []byte("example.org"), Path: append([]byte{'/'}, bytes.Repeat([]byte("%25"), 670)...)},
		"all":         {Method: []byte("GET"), Host: []byte("example.org"), Path: append(bytes.Repeat([]byte("/a;%2f%2541"), 180), "/../%2e%2e/.%2e/x"...)},
		"long":        {Method: []byte("GET"), Host: []byte("example.org"), Path: bytes.Repeat([]byte("/%2f%2541%2e%2e"), 3000)},
		"nested":      {Method: []byte("GET"), Host: []byte("example.org"), Path: append([]byte("/%"), bytes.Repeat([]byte("25"), 1000)...)},
	}
}

// longList returns 10,000 routes, of which only the last one matches, with a thousand header conditions.
func longList(t testing.TB) *List {
	list := make([]Conditions, 0, 10_000)
	for i := range 9_999 {
		c := Conditions{Path: fmt.Sprintf("/items/%d/*", 100+i), Host: "example.org"}
		if i%10 == 0 {
			c = Conditions{Path: "/h", Headers: []Header{{"X-" + fmt.Sprint(i), "1"}, {"X", fmt.Sprint(i)}}}
		}
		list = append(list, c)
	}
	return mustNew(t, append(list, Conditions{})...)
}

// TestNoAllocation: matching allocates nothing, whatever the request.
func TestNoAllocation(t *testing.T) {
	l, s := longList(t), &Scratch{}
	for name, r := range hostile() {
		index, err := l.Match(r, s)
		if err == nil && index != 9_999 {
			t.Errorf("%s: route %d", name, index)
		}
		if n := testing.AllocsPerRun(3, func() { _, _ = l.Match(r, s) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	s.Release()
	if cap(s.path)+cap(s.other) > 0 {
		t.Error("the buffers of a long path are kept")
	}
}

func BenchmarkMatch(b *testing.B) {
	long := longList(b)
	short := mustNew(b, Conditions{Host: "old.example.org"}, Conditions{Host: "*.example.org", Path: "/api/*", Methods: []string{"GET"}},
		Conditions{Path: "/admin/*"}, Conditions{Path: "/closed"}, Conditions{})
	for name, r := range hostile() {
		b.Run("5/"+name, func(b *testing.B) { benchmark(b, short, r) })
		b.Run("10000/"+name, func(b *testing.B) { benchmark(b, long, r) })
	}
}

func benchmark(b *testing.B, l *List, r *Request) {
	s := &Scratch{}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = l.Match(r, s)
	}
}
