// Package systemd speaks the two protocols by which a service manager starts and follows a process: sockets that it hands over
// (sd_listen_fds(3)), and notifications (sd_notify(3)).
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	firstDescriptor = 3
	socketsMax      = 64
)

// Sockets returns the TCP sockets that the service manager has handed over to this process; none if it was started in another way. A socket
// of another kind is an error. Sockets removes the variables that announce them, so a child does not take them for its own. Call it once, and
// before anything could have closed the descriptors.
func Sockets() (list []*net.TCPListener, err error) {
	pid, n := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) || n == "" {
		return nil, nil
	}
	count, err := strconv.Atoi(n)
	if err != nil || count < 0 || count > socketsMax {
		return nil, fmt.Errorf("LISTEN_FDS is %q: want the number of sockets, at most %d", n, socketsMax)
	}
	var errs []error
	for fd := firstDescriptor; fd < firstDescriptor+count; fd++ {
		unix.CloseOnExec(fd)
		file := os.NewFile(uintptr(fd), "socket")
		ln, err := net.FileListener(file) // has a copy of the descriptor
		_ = file.Close()
		tcp, ok := ln.(*net.TCPListener)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("socket %d of LISTEN_FDS: %w", fd, err))
		case !ok:
			_ = ln.Close()
			errs = append(errs, fmt.Errorf("socket %d of LISTEN_FDS, %s, is not a TCP socket", fd, ln.Addr()))
		default:
			list = append(list, tcp)
		}
	}
	return list, errors.Join(errs...)
}

// Notify tells the service manager about the state of this process, for example "READY=1". Without a service manager that wants to know, it
// does nothing.
func Notify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"}) // a name that begins with @ is abstract
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// The notifications of a process.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Reloading is the notification that a reload begins. Ready follows when it has ended.
func Reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}
