package uploader

import (
	"errors"
	"testing"
)

// TestStatsLineEndsWithItsObject: what follows the object in a line is damage, not a second one to be passed over.
func TestStatsLineEndsWithItsObject(t *testing.T) {
	const line = `{"schema_version":1,"hour":"2026-03-17T09:00:00Z"}`
	if _, _, err := ParseStats([]byte(line + "\n")); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{line, " {}", "x"} {
		if _, _, err := ParseStats([]byte(line + more)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", more, err)
		}
	}
}
