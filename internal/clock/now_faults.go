//go:build faults

package clock

import (
	"os"
	"strings"
	"time"
)

// OffsetFileEnv names the environment variable with the path of the offset file. The file contains one Go duration and is read at each
// call, so a test can change the clock of a running process by writing the file.
const OffsetFileEnv = "WAYSIDE_FAULT_CLOCK"

// Now returns the wall-clock time plus the offset that the fault test has set.
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
	// The monotonic reading is removed deliberately: a jump of the wall clock must also affect differences.
	return now.Round(0).Add(offset)
}
