//go:build faults

package crash

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Env names the environment variable that selects a crash point.
const Env = "WAYSIDE_FAULT_CRASH"

// WaitEnv names the environment variable that selects a point at which to wait, and a file: "name:FILE".
const WaitEnv = "WAYSIDE_FAULT_WAIT"

var waitAt, waitFile, _ = strings.Cut(os.Getenv(WaitEnv), ":")

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

// Point kills the process if name is the selected point and this is the selected call. If name is the point at which to wait, the calling
// goroutine waits first.
func Point(name string) {
	if name == waitAt && waitFile != "" {
		wait()
	}
	if name != target || target == "" {
		return
	}
	if passed.Add(1)-1 == occurrence {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal has been sent, and no further step may happen
	}
}

// wait creates the selected file, and returns when a test has removed it.
func wait() {
	err := os.WriteFile(waitFile, nil, 0o600)
	for err == nil {
		time.Sleep(10 * time.Millisecond)
		_, err = os.Lstat(waitFile)
	}
}
