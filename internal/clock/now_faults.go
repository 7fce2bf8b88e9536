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
func Now() time.Time { return At(time.Now()) }

// At returns the time that Now would have returned at t, which is a result of time.Now.
func At(t time.Time) time.Time {
	name := os.Getenv(OffsetFileEnv)
	if name == "" {
		return t
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return t
	}
	offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return t
	}
	// The monotonic reading is removed deliberately: a jump of the wall clock must also affect differences.
	return t.Round(0).Add(offset)
}
