//go:build faults

package clock

import (
	"os"
	"strings"
	"time"
)

// OffsetFileEnv names the environment variable that holds the path of the offset file: one Go duration, read at each
// call, so that a test moves the clock of a running process by writing the file.
const OffsetFileEnv = "WAYSIDE_FAULT_CLOCK"

// Now is the wall-clock time plus the offset that the fault test asked for.
func Now() time.Time {
	now := time.Now()
	name := os.Getenv(OffsetFileEnv)
	if name == "" {
		return now
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return now
	}
	offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return now
	}
	// The monotonic reading is dropped on purpose: a jumped wall clock must show in differences too.
	return now.Round(0).Add(offset)
}
