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

// priorityZero is the result of the getpriority system call for niceness 0, because that call returns 20 minus the niceness.
const priorityZero = 20

// SetNiceness sets the niceness of all threads in the process. On Linux, each thread has its own niceness, and a new thread inherits it
// from the thread that creates it. A thread whose niceness is already higher keeps it, because only root may lower the niceness.
func SetNiceness(niceness int) error {
	seen := map[string]bool{}
	for again := true; again; { // repeat until no new thread has appeared
		again = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list the threads of the books process: %w", err)
		}
		for _, task := range tasks {
			if seen[task.Name()] {
				continue
			}
			seen[task.Name()], again = true, true
			if err := setThreadNiceness(task.Name(), niceness); err != nil {
				return err
			}
		}
	}
	return nil
}

func setThreadNiceness(name string, niceness int) error {
	tid, err := strconv.Atoi(name)
	if err != nil {
		return fmt.Errorf("list the threads of the books process: %w", err)
	}
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err == nil && priorityZero-priority < niceness {
		err = unix.Setpriority(unix.PRIO_PROCESS, tid, niceness)
	}
	if err != nil && err != unix.ESRCH { // ESRCH: the thread has ended
		return fmt.Errorf("set the niceness of the books process: %w", err)
	}
	return nil
}

// SetName makes ps and top show the program's name. Otherwise, a process that was started from /proc/self/exe would be shown as "exe".
// Call it before [Harden]: after that, only root may write the file.
func SetName() { _ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0) }

// IgnoreSIGPIPE keeps the process running when the reader of its standard output or error disappears. By default, Go's runtime would end
// the process. That is right for a command that prints something but wrong for a process that serves traffic.
func IgnoreSIGPIPE() { signal.Ignore(syscall.SIGPIPE) }
