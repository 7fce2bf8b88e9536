package query

import (
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
)

func TestParseGRPC(t *testing.T) {
	for text, want := range map[string][]int{
		"14": {14}, "unavailable, 0": {0, 14}, "other": {-1}, "-1": {-1}, "error": {-1, 2, 4, 12, 13, 14, 15}, "ERROR,1": {-1, 1, 2, 4, 12, 13, 14, 15},
	} {
		set, err := ParseGRPC(text)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for code := -1; code <= event.GRPCCodeMax; code++ {
			if set.HasCode(code) != set.Has(event.GRPCOf(code)) {
				t.Errorf("%s: code %d", text, code)
			}
			if set.HasCode(code) {
				got = append(got, code)
			}
		}
		if len(got) != len(want) || set.Has(event.GRPCNone) || set.Has(event.GRPCAbsent) || set.HasCode(17) || set.HasCode(-2) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"17", "unavailabel", "1,,2", "5xx"} {
		if _, err := ParseGRPC(text); err == nil || !strings.Contains(err.Error(), GRPCForms) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if any, err := ParseGRPC(""); err != nil || !any.Has(event.GRPCNone) || !any.HasCode(3) {
		t.Errorf("an empty list: %v", err)
	}
}
