package process

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// priorityZero is what getpriority(2) returns for niceness 0: the system call counts downwards from 20.
const priorityZero = 20

// BeNice gives all threads of the process this niceness, as Linux has one for each thread; those made later have that of the thread
// that makes them. A process that is nicer already stays so: only root could take it back.
func BeNice(niceness int) error {
	seen := map[string]bool{}
	for again := true; again; { // until no thread was begun meanwhile
		again = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("find the threads of the books process: %w", err)
		}
		for _, task := range tasks {
			if seen[task.Name()] {
				continue
			}
			seen[task.Name()], again = true, true
			if err := threadNice(task.Name(), niceness); err != nil {
				return err
			}
		}
	}
	return nil
}

func threadNice(name string, niceness int) error {
	tid, err := strconv.Atoi(name)
	if err != nil {
		return fmt.Errorf("find the threads of the books process: %w", err)
	}
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err == nil && priorityZero-priority < niceness {
		err = unix.Setpriority(unix.PRIO_PROCESS, tid, niceness)
	}
	if err != nil && err != unix.ESRCH { //nolint:errorlint // a plain errno; ESRCH: the thread has ended
		return fmt.Errorf("make the books process nicer: %w", err)
	}
	return nil
}

// SetName gives the process the name that its program has: one that was started from /proc/self/exe is "exe" otherwise. It is for people;
// before [Harden], after which only root may write there.
func SetName() { _ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0) }

// OutliveReaders keeps the process alive when the reader of its standard output or error leaves. By default Go's runtime ends it with
// SIGPIPE, which is right for commands that print something, and wrong for what serves traffic.
func OutliveReaders() { signal.Ignore(syscall.SIGPIPE) }
