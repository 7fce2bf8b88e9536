package paths

import (
	"fmt"
	"strings"
	"testing"
)

func TestSelectionsAreChecked(t *testing.T) {
	for path, ok := range map[string]bool{
		"/reset/1": true, "*secret*": true, "/users/{id}": true, "/a*": true, "/": true,
		"": false, "reset": false, "*": false, "/*": false, "**": false, "*/": false, "/a?b=1": false, "/a\nb": false,
	} {
		if err := (&Selection{Path: path}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// Everything that was learned only from forgotten rows is removed with them, even from the persisted state. Everything
// else stays.
func TestForgetLeavesNoNameBehind(t *testing.T) {
	l, err := New(Options{Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]string{}
	batch := func(fn func()) {
		l.Begin()
		fn()
		for _, c := range l.Changes() {
			if state[string(c.Key)] = string(c.Value); c.Value == nil {
				delete(state, string(c.Key))
			}
		}
		l.Commit()
	}
	label := func(path string) string {
		_, _, label := rowOf(l, []byte("shop"), []byte("GET"), []byte(path), 200)
		return label
	}
	for range 40 {
		batch(func() {
			for i := range 100 {
				label(fmt.Sprintf("/people/name%c%c%c/posts", 'a'+i%7, 'a'+i%26, 'a'+i%11))
				label("/people/canary/settings/hidden")
				label("/kept")
			}
		})
	}
	text := func() string { return fmt.Sprint(state) }
	if !strings.Contains(text(), "canary") {
		t.Fatal("the name was not learnt before it is forgotten")
	}
	before := l.Usage()
	forgotten := 0
	batch(func() { forgotten = l.Forget(&Selection{Path: "/people/canary/*"}) })
	if forgotten == 0 || strings.Contains(text(), "canary") {
		t.Errorf("%d rows forgotten, and the state is %q", forgotten, text())
	}
	if got := label("/kept"); got != "/kept" {
		t.Errorf("/kept is counted as %s", got)
	}
	if after := l.Usage(); after.Rows >= before.Rows {
		t.Errorf("%d templates, before %d", after.Rows, before.Rows)
	}
	again, _ := New(Options{Max: 100})
	for key, value := range state {
		if err := again.Restore([]byte(key), []byte(value)); err != nil {
			t.Errorf("restore %q: %v", key, err)
		}
	}
}

// A batch that is rolled back forgets nothing.
func TestForgetCanBeUndone(t *testing.T) {
	l, _ := New(Options{})
	l.Begin()
	rowOf(l, []byte("shop"), []byte("GET"), []byte("/reset/canary"), 200)
	l.Commit()
	l.Begin()
	if n := l.Forget(&Selection{Path: "/reset/canary"}); n != 1 {
		t.Fatalf("%d rows", n)
	}
	l.Rollback()
	if n := l.Usage().Labels; n != 1 {
		t.Errorf("%d labels after it was undone", n)
	}
	for name, s := range map[string]Selection{
		"another method": {Path: "/reset/canary", Method: "POST"}, "another host": {Path: "/reset/canary", Host: "blog"}, "another path": {Path: "/reset/canar"},
	} {
		l.Begin()
		if n := l.Forget(&s); n != 0 {
			t.Errorf("%s: %d rows", name, n)
		}
		l.Rollback()
	}
}

// TestForgetTheRootPath: the path / is one path like any other, not a pattern that selects everything.
func TestForgetTheRootPath(t *testing.T) {
	l, _ := New(Options{})
	l.Begin()
	for _, path := range []string{"/", "/about", "/users/1"} {
		rowOf(l, []byte("shop"), []byte("GET"), []byte(path), 200)
	}
	l.Commit()
	l.Begin()
	if n := l.Forget(&Selection{Path: "/"}); n != 1 {
		t.Errorf("%d rows forgotten, want 1", n)
	}
	l.Commit()
	if n := l.Usage().Labels; n != 2 {
		t.Errorf("%d labels are left, want 2", n)
	}
}
