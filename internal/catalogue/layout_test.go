package catalogue

import (
	"slices"
	"strings"
	"testing"
)

func TestNamesInKeys(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"shop", "shop"},
		{"a_b/c d", "a%5Fb%2Fc%20d"},
		{"..", ".."},
		{"größe", "gr%C3%B6%C3%9Fe"},
		{strings.Repeat("x", 100), strings.Repeat("x", 72)},
		{strings.Repeat("x", 71) + "/y", strings.Repeat("x", 71)},
		{strings.Repeat("x", 70) + "/y", strings.Repeat("x", 70)},
	} {
		if got := string(AppendName(nil, c.name)); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRunsThatTouchAreJoined(t *testing.T) {
	runs := AppendRuns(nil, Run{1, 5}, Run{6, 6}, Run{8, 9})
	if runs = AppendRuns(runs, Run{10, 10}); !slices.Equal(runs, []Run{{1, 6}, {8, 10}}) {
		t.Error(runs)
	}
}
