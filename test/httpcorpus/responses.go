package httpcorpus

import (
	"fmt"
	"strings"
)

// Responses returns the hostile responses to a GET request. Smuggled responses contain Canary.
func Responses() []Response {
	var all []Response
	for i, raw := range headFaults() {
		all = append(all, Response{Name: fmt.Sprintf("head %02d", i+1), Raw: raw})
	}
	for i, body := range bodyFaults {
		all = append(all, Response{Name: fmt.Sprintf("chunks %02d", i+1), Raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body, Late: true})
	}
	return all
}

const (
	evil   = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + Canary
	tail   = "\r\n\r\n" + evil
	status = "HTTP/1.1 200 OK\r\n"
)

func headFaults() []string {
	faults := []string{
		// Status line.
		"HTTP/1.1 20 OK\r\nContent-Length: 0" + tail, "HTTP/1.1 2000 OK\r\nContent-Length: 0" + tail, "HTTP/1.1 000 OK\r\nContent-Length: 0" + tail,
		"HTTP/1.1 099 OK\r\nContent-Length: 0" + tail, "HTTP/1.1 2x0 OK\r\nContent-Length: 0" + tail, "HTTP/1.1 +20 OK\r\nContent-Length: 0" + tail,
		"HTTP/1.1  200 OK\r\nContent-Length: 0" + tail, "HTTP/1.1\t200 OK\r\nContent-Length: 0" + tail, "HTTP/1.1200 OK\r\nContent-Length: 0" + tail,
		"HTTP/2.0 200 OK\r\nContent-Length: 0" + tail, "HTTP/1.2 200 OK\r\nContent-Length: 0" + tail, "HTTP/0.9 200 OK\r\nContent-Length: 0" + tail,
		"http/1.1 200 OK\r\nContent-Length: 0" + tail, "HTTP/11 200 OK\r\nContent-Length: 0" + tail, "HTTP/1.1x 200 OK\r\nContent-Length: 0" + tail,
		"ICY 200 OK\r\nContent-Length: 0" + tail, " HTTP/1.1 200 OK\r\nContent-Length: 0" + tail, "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0" + tail,
		"HTTP/1.1 200 O\x00K\r\nContent-Length: 0" + tail, "HTTP/1.1 200 O\rX: K\r\nContent-Length: 0" + tail, "HTTP/1.1 200 OK\nContent-Length: 0" + tail,
		"HTTP/1.1 200 OK\r\r\nContent-Length: 0" + tail, "HTTP/1.1 200OK\r\nContent-Length: 0" + tail, "<html>hello</html>\r\n\r\n" + evil, "\x00\x00\x00" + tail,
		"HTTP/1.1 200 OK\n\n" + evil, "HTTP/1.1 \r\n\r\n" + evil, "GET " + Canary + " HTTP/1.1\r\nHost: a\r\n\r\n",
		// 1xx and 204 have no body (RFC 9110, section 15.2; RFC 9112, section 6.1).
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade" + tail, "HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n\r\n" + Canary + evil,
		"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + Canary + "\r\n0" + tail, "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n" + Canary,
		"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + Canary + "\r\n0\r\n\r\n",
	}
	for _, fields := range []string{
		"Content-Length: 0\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 0", "Content-Length: 1\r\nContent-Length: 2", "Content-Length: 1\r\nContent-Length: 1",
		"Content-Length: 1, 1", "Content-Length: 1,2", "Content-Length: +1", "Content-Length: -1", "Content-Length: 0x1", "Content-Length:", "Content-Length: 1 1", "Content-Length: 99999999999999999999",
		"Content-Length: 1\x00", "Content-Length: \x0b1", "Content-Length : 1", " Content-Length: 1", "Content-Length: 0\r\n 1", "Content-Length: 1;", "Content-Length: x",
		"Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding: identity", "Transfer-Encoding: gzip", "Transfer-Encoding: xchunked", "Transfer-Encoding:",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "Transfer-Encoding : chunked", "Transfer-Encoding: \x0bchunked",
		"Transfer-Encoding:\r\n chunked", "Transfer-Encoding: chunked;x", "X\r\nContent-Length: 0", "X Y: 1\r\nContent-Length: 0", ": 1\r\nContent-Length: 0", "X: 1\r\n 2\r\nContent-Length: 0", "X: 1\nContent-Length: 0",
		"X: 1\rY: 2\r\nContent-Length: 0", "X: \x00\r\nContent-Length: 0", "X\x00: 1\r\nContent-Length: 0", "X: \x7f\r\nContent-Length: 0", " X: 1\r\nContent-Length: 0", "X\xc3\xa9: 1\r\nContent-Length: 0",
	} {
		faults = append(faults, status+fields+tail)
	}
	for _, fields := range []string{
		"Content-Length: 0\r\nContent-Length: 0", "Content-Length: 0\x85", "Content-Length: 0\xa0", "Content-Length: 0o1", "Content-Length: 0, 0", "Content-Length: 1\t1", "Content-Length\t: 0", "Content-Length\x00: 0",
		"Content-Length: 0\r\nX: 1\r\r\n", "Transfer-Encoding: chunked\x85", "Transfer-Encoding: \xa0chunked", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: chunked,", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding\t: chunked",
		"Transfer-Encoding: chunked\x00", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\nContent-Length: 0", "X: 1\r\n\tContent-Length: 0", "\tX: 1\r\nContent-Length: 0",
		"X;Y: 1\r\nContent-Length: 0", "X: \x01\r\nContent-Length: 0", "Connection: " + strings.Repeat("x,", 400) + "\r\nContent-Length: 0", "X: " + strings.Repeat("a", 17<<10) + "\r\nContent-Length: 0",
	} {
		faults = append(faults, status+fields+tail)
	}
	faults = append(faults, strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n", 40)+evil, "HTTP/1.1 103 Early Hints\r\nX: 1\r\n 2"+tail, "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\nContent-Length: 0"+tail,
		"HTTP/1.1 199 X\r\nTransfer-Encoding: chunked"+tail, "HTTP/1.1 101 Switching Protocols\r\n\r\n"+evil, "\nHTTP/1.1 200 OK\r\nContent-Length: 0"+tail, "HTTP/1.1 200 OK\x00\r\nContent-Length: 0"+tail, "HTTP/1.1\xa0200 OK\r\nContent-Length: 0"+tail)
	return append(faults, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+evil)
}

// bodyFaults are faults in a chunked body. They occur after "abc" has already been relayed.
var bodyFaults = []string{
	"3\r\nabc\r\n+3\r\nabc\r\n0" + tail, "3\r\nabc\r\n-3\r\nabc\r\n0" + tail, "3\r\nabc\r\n0x3\r\nabc\r\n0" + tail, "3\r\nabc\r\n 3\r\nabc\r\n0" + tail, "3\r\nabc\r\n3 \r\nabc\r\n0" + tail,
	"3\r\nabc\r\ng\r\nabc\r\n0" + tail, "3\r\nabc\r\n\r\n" + evil, "3\r\nabc\r\n3\nabc\r\n0" + tail, "3\r\nabc\n0" + tail, "3\r\nabcd\r\n0" + tail, "3\r\nabc\r\nfffffffffffffffff\r\n" + evil,
	"3\r\nabc\r\n0\n\r\n" + evil, "3\r\nabc\r\n0\r\n\n" + evil, "3\r\nabc\r\n3;\r\nabc\r\n0" + tail, "3\r\nabc\r\n3;a\nb\r\nabc\r\n0" + tail, "3\r\nabc\r\n0\r\nX\r\n\r\n" + evil, "3\r\nabc\r\n0\r\nX : 1\r\n\r\n" + evil,
	"3\r\nabc\r\n0\r\nX: 1\r\n 2\r\n\r\n" + evil, "3\r\nabc\r\n0\r\nContent-Length: 7\r\n\r\n" + evil, "3\r\nabc\r\n0\r\nX: \x00\r\n\r\n" + evil, "3\r\nabc\r\n" + evil,
	"3\r\nabcXX0" + tail, "3\r\nabc\r\r0" + tail, "3\r\nabc\r\n3L\r\nabc\r\n0" + tail, "3\r\nabc\r\n\xa03\r\nabc\r\n0" + tail, "3\r\nabc\r\n3\x85\r\nabc\r\n0" + tail, "3\r\nabc\r\n3;a=\"\r\nabc\r\n0" + tail, "3\r\nabc\r\n" + strings.Repeat("0", 300) + "3\r\nabc\r\n0" + tail,
	"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n" + evil, "3\r\nabc\r\n0\r\n X: 1\r\n\r\n" + evil, "3\r\nabc\r\n0\r\nX: 1\r2\r\n\r\n" + evil, "3\r\nabc\r\n0,\r\n\r\n" + evil,
}
