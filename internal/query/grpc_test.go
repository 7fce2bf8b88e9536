package query

import (
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
)

func TestParseGRPC(t *testing.T) {
	for text, want := range map[string][]int{
		"14": {14}, "unavailable, 0": {0, 14}, "other": {17}, "17": {17}, "error": {2, 4, 12, 13, 14, 15, 17}, "ERROR,1": {1, 2, 4, 12, 13, 14, 15, 17},
	} {
		set, err := ParseGRPC(text)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for code := range event.GRPCCodeOther + 1 {
			if set.HasCode(code) != set.Has(event.GRPCOf(code)) {
				t.Errorf("%s: code %d", text, code)
			}
			if set.HasCode(code) {
				got = append(got, code)
			}
		}
		if len(got) != len(want) || set.Has(event.GRPCNone) || set.Has(event.GRPCAbsent) || set.HasCode(18) || set.HasCode(-1) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"18", "-1", "unavailabel", "1,,2", "5xx"} {
		if _, err := ParseGRPC(text); err == nil || !strings.Contains(err.Error(), GRPCForms) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if any, err := ParseGRPC(""); err != nil || !any.Has(event.GRPCNone) || !any.HasCode(3) {
		t.Errorf("an empty list: %v", err)
	}
}
