package proxy

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentMax is how many bytes the kernel buffers for a connection before it can send them. Without this limit it buffers
// megabytes: a thousand clients that request something large and do not read would cost more than a gigabyte, which a memory
// cgroup of version 2 counts. Bytes that are sent and not yet acknowledged do not count, so no connection becomes slower (ADR 84).
const unsentMax = 64 << 10

// boundBuffers is for net.ListenConfig.Control and net.Dialer.Control. Accepted connections inherit the option from their listener.
func boundBuffers(network, _ string, raw syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentMax) // since Linux 3.12; if it fails, buffers are larger
	})
}
