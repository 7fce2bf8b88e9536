package uploader

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestStatsLineEndsWithItsObject: text after the object in a line is damage; it is not skipped.
func TestStatsLineEndsWithItsObject(t *testing.T) {
	const line = `{"schema_version":1,"hour":"2026-03-17T09:00:00Z"}`
	hour := time.Date(2026, 3, 17, 9, 0, 0, 0, time.UTC).Unix() / 3600
	if _, _, err := parseStatistics([]byte(line+"\n"), hour, uuid.UUID{}); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{line, " {}", "x"} {
		if _, _, err := parseStatistics([]byte(line+more), hour, uuid.UUID{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", more, err)
		}
	}
}
