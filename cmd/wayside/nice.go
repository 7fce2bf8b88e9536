package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// priorityZero is what getpriority(2) returns for niceness 0: the system call counts downwards from 20.
const priorityZero = 20

// beNice gives all threads of the process this niceness, as Linux has one for each thread; those made later have that of the thread
// that makes them. A process that is nicer already stays so: only root could take it back.
func beNice(niceness int) error {
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
