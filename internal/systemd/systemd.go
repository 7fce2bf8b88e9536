// Package systemd implements two protocols between a process and its service manager: for sockets that the service manager passes to the
// process (sd_listen_fds(3)), and for notifications about the state of the process (sd_notify(3)).
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

// Sockets returns the TCP sockets that the service manager has passed to this process; there are none if the process was started in
// another way. A socket of any other type causes an error. Sockets removes the environment variables that announce the sockets, to keep a
// child process from using them. Call it only once, before anything can close the descriptors.
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
		ln, err := net.FileListener(file) // uses a copy of the descriptor
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

// Notify reports the state of this process to the service manager, for example "READY=1". If no service manager has requested
// notifications, it does nothing.
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

// Reloading returns the notification that a reload is beginning. After the reload, Ready must be sent.
func Reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}
