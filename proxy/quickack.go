package proxy

import "syscall"

// hurry acknowledges at once what the upstream has sent so far. Many servers write a response's header and its body apart
// and leave Nagle's algorithm on (RFC 9293, section 3.7.4): the body then waits for the acknowledgement of the header, which Linux
// holds back for 40 ms on a connection that has carried requests before. A client that connects anew for every request
// never sees that delay; a proxy that keeps its connections would add it to every response.
func (u *upstreamConn) hurry() {
	if u.ack != nil {
		_ = u.raw.Control(u.ack)
	}
}

// quickAck leaves the mode of delayed acknowledgements until the connection is written to again (tcp(7)).
func quickAck(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
}
