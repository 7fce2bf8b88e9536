//go:build faults

package crash

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Env names the environment variable that selects a crash point.
const Env = "WAYSIDE_FAULT_CRASH"

var (
	target, occurrence = parse(os.Getenv(Env))
	passed             atomic.Int64
)

func parse(spec string) (name string, k int64) {
	name, count, found := strings.Cut(spec, ":")
	if found {
		k, _ = strconv.ParseInt(count, 10, 64)
	}
	return name, k
}

// Point kills the process if name is the selected point and this is the selected call.
func Point(name string) {
	if name != target || target == "" {
		return
	}
	if passed.Add(1)-1 == occurrence {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal has been sent, and no further step may happen
	}
}
