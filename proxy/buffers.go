package proxy

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentMax limits the unsent bytes that the kernel buffers for a connection. Without a limit, the kernel buffers megabytes: a thousand
// clients that request something large and do not read it would cost more than a gigabyte of memory, which counts towards the limit of a
// version 2 memory cgroup. Bytes that have been sent but not acknowledged do not count towards unsentMax, so no connection becomes slower
// (ADR 84).
const unsentMax = 64 << 10

// boundBuffers sets the limit on a socket. It is meant for net.ListenConfig.Control and net.Dialer.Control. Accepted connections inherit
// the limit from their listener.
func boundBuffers(network, _ string, raw syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentMax) // since Linux 3.12; if it fails, buffers are larger
	})
}
