package proxy

import "syscall"

// quickAck makes the kernel immediately acknowledge the bytes that the upstream has sent so far. Many servers write header and body
// separately and leave Nagle's algorithm on (RFC 9293, section 3.7.4). The body then waits until the header has been acknowledged, and on a
// connection that has carried requests before, Linux delays the acknowledgment by 40 ms. A client that opens a new connection for each
// request never sees that delay, but a proxy that reuses its connections would add the delay to every response.
func (u *upstreamConn) quickAck() {
	if u.ack != nil {
		_ = u.raw.Control(u.ack)
	}
}

// setQuickAck switches off delayed acknowledgments until the next write to the connection (tcp(7)).
func setQuickAck(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
}
