package route

import "testing"

// TestCutPrefix: the rest of the path is empty or begins with exactly one slash, and means the same as the part of the path below the prefix.
func TestCutPrefix(t *testing.T) {
	for _, tt := range []struct{ path, prefix, rest string }{
		{"/app", "/app", ""},
		{"/app/", "/app", "/"},
		{"/app/x", "/app", "/x"},
		{"/application", "/app", "/application"},
		{"/", "/app", "/"},
		{"/%61pp/x%2Fy", "/app", "/x%2Fy"},
		{"//app/x", "/app", "/x"},
		{"/./app/x", "/app", "/x"},
		{"/%2e//app", "/app", ""},
		{"/app//evil.example", "/app", "/evil.example"},
		{"/app///", "/app", "/"},
		{"/app%2Fx", "/app", "/app%2Fx"},
		{"/a/b/c", "/a/b", "/c"},
		{"/a//./b//c", "/a/b", "/c"},
		{"/a", "/a/b", "/a"},
		{"/a/", "/a/b", "/a/"},
		{"/a/../a/b", "/a/b", "/a/../a/b"},
		{"/x/../app/y", "/app", "/x/../app/y"},
		{"/app/../y", "/app", "/../y"},
		{"/app;v=1/x", "/app", "/app;v=1/x"},
		{"*", "/app", "*"},
		{"/caf%C3%A9/x", "/café", "/x"},
		{"/%", "/app", "/%"},
		{"", "/app", ""},
	} {
		if rest := tt.path[CutPrefix([]byte(tt.path), tt.prefix):]; rest != tt.rest {
			t.Errorf("%s without %s: %s, want %s", tt.path, tt.prefix, rest, tt.rest)
		}
	}
}
