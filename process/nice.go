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

// priorityZero is the result of getpriority(2) for niceness 0: the system call counts downwards from 20.
const priorityZero = 20

// SetNiceness sets the niceness of all threads of the process. Linux keeps it per thread, and a new thread inherits it from the thread that
// creates it. A thread that is already nicer stays so: only root could undo it.
func SetNiceness(niceness int) error {
	seen := map[string]bool{}
	for again := true; again; { // until no thread has started in the meantime
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

// SetName sets the name that ps and top show to that of the program: a process that was started from /proc/self/exe is called "exe". Call it
// before [Harden], after which only root may write the file.
func SetName() { _ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0) }

// IgnoreSIGPIPE keeps the process alive when the reader of its standard output or error goes away. Go's runtime would end it, which is
// right for a command that prints something, and wrong for a process that serves traffic.
func IgnoreSIGPIPE() { signal.Ignore(syscall.SIGPIPE) }
