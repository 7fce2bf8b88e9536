package proxy

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentMax is how much the kernel takes of what is written to a connection before the other side has room for it. Without it
// the kernel takes megabytes: a thousand clients that ask for something large and do not read cost more than a gigabyte, which a memory
// cgroup of version 2 counts. What is sent and not acknowledged yet comes on top, so that no
// connection becomes slower (ADR 84).
const unsentMax = 64 << 10

// boundBuffers is for net.ListenConfig.Control and net.Dialer.Control. Accepted connections have the options of their listener.
func boundBuffers(network, _ string, raw syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentMax) // Linux 3.12; without it there are larger buffers
	})
}

// unsentBytes reports whether the kernel has bytes that it could not send yet, because the client does not take them.
func (c *clientConn) unsentBytes() bool {
	if c.raw == nil {
		return false
	}
	unsent := 0
	_ = c.raw.Control(func(fd uintptr) { unsent, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD) })
	return unsent > 0
}
