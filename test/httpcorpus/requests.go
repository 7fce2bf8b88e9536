package httpcorpus

import (
	"fmt"
	"strings"
)

// Requests returns the hostile requests.
func Requests() []Request {
	var all []Request
	add := func(status int, group string, raws ...string) {
		for i, raw := range raws {
			all = append(all, Request{fmt.Sprintf("%s %02d", group, i+1), raw, status})
		}
	}
	add(400, "line", requestLines()...)
	add(505, "version", versions()...)
	add(501, "connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n",
		"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
	add(501, "method", strings.Repeat("A", 65)+" / HTTP/1.1\r\nHost: a\r\n\r\n", strings.Repeat("A", 4000)+" / HTTP/1.1\r\nHost: a\r\n\r\n")
	add(400, "authority", authorities()...)
	add(400, "field", each("GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", badFields)...)
	add(400, "first field", each("GET / HTTP/1.1\r\n%sHost: a\r\n\r\n", firstFields)...)
	add(400, "host", each("GET /h HTTP/1.1\r\n%s\r\n", badHosts)...)
	add(400, "length", each("POST /l HTTP/1.1\r\nHost: a\r\n%s\r\n"+Smuggled, badLengths)...)
	add(400, "coding", each("POST /t HTTP/1.1\r\nHost: a\r\n%s\r\n0\r\n\r\n"+Smuggled, badCodings)...)
	add(400, "both", each("POST /b HTTP/1.1\r\nHost: a\r\n%s\r\n0\r\n\r\n"+Smuggled, bothFramings)...)
	add(400, "1.0", each("POST /o HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n%s\r\n0\r\n\r\n"+Smuggled, oldCodings)...)
	add(400, "chunk", each("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s", badChunks)...)
	add(400, "trailer", each("POST /r HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n%s\r\n", badTrailers)...)
	add(400, "announced", each("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: %s\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n", badAnnouncements)...)
	add(417, "expect", each("POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n%s\r\nabc", badExpectations)...)
	add(400, "trace", "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "TRACE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	add(0, "one meaning", harmless()...)
	return all
}

func each(format string, parts []string) []string {
	raws := make([]string, len(parts))
	for i, part := range parts {
		raws[i] = fmt.Sprintf(format, part)
	}
	return raws
}

func requestLines() []string {
	const rest = "\r\nHost: a\r\n\r\n"
	return []string{
		"GET /" + rest, // HTTP/0.9
		"GET  / HTTP/1.1" + rest,
		"GET /  HTTP/1.1" + rest,
		"GET / HTTP/1.1 " + rest,
		" GET / HTTP/1.1" + rest,
		"GET\t/ HTTP/1.1" + rest,
		"GET /\tHTTP/1.1" + rest,
		"GET /a b HTTP/1.1" + rest,
		"GET /a\rb HTTP/1.1" + rest,
		"GET /a\x00b HTTP/1.1" + rest,
		"GET /a\x7fb HTTP/1.1" + rest,
		"GET /a\x0bb HTTP/1.1" + rest,
		"GET /\xc3\xa9 HTTP/1.1" + rest,
		"GET /\xff HTTP/1.1" + rest,
		"GET /a#b HTTP/1.1" + rest,
		"GET /a%zz HTTP/1.1" + rest,
		"GET /a% HTTP/1.1" + rest,
		"GET /a%4 HTTP/1.1" + rest,
		"GET /a?b#c HTTP/1.1" + rest,
		"GET a HTTP/1.1" + rest,
		"GET * HTTP/1.1" + rest,
		"POST * HTTP/1.1" + rest,
		"GET ?a HTTP/1.1" + rest,
		"GET a:80 HTTP/1.1" + rest,
		"GET  HTTP/1.1" + rest,
		"GET HTTP/1.1" + rest,
		"/ HTTP/1.1" + rest,
		"G@T / HTTP/1.1" + rest,
		"G(T / HTTP/1.1" + rest,
		"GET: / HTTP/1.1" + rest,
		"G\x00T / HTTP/1.1" + rest,
		"G\xc9T / HTTP/1.1" + rest,
		"GET / http/1.1" + rest,
		"GET / HTTP/1.1x" + rest,
		"GET / HTTP/11" + rest,
		"GET / HTTP/1." + rest,
		"GET / HTTP/.1" + rest,
		"GET / HTTP/1,1" + rest,
		"GET / HTTP/01.1" + rest,
		"GET / HTTP/1.10" + rest,
		"GET / HTTP/+1.1" + rest,
		"GET / HTTP /1.1" + rest,
		"GET / HTTPS/1.1" + rest,
		"GET / XHTTP/1.1" + rest,
		"GET / SMUGGLE/1.1" + rest,
		"GET / HTTP/1.1\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\rHost: a\r\n\r\n",
		"GET / HTTP/1.1\n\nHost: a\n\n",
		"\nGET / HTTP/1.1" + rest,
		strings.Repeat("\r\n", 9) + "GET / HTTP/1.1" + rest, // more empty lines than are skipped
		"\rGET / HTTP/1.1" + rest,
		"\x00GET / HTTP/1.1" + rest,
		"\xef\xbb\xbfGET / HTTP/1.1" + rest,
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rest, // TLS
		"GET ftp://a/ HTTP/1.1" + rest,
		"GET https://a/ HTTP/1.1" + rest,
		"GET file:///etc/passwd HTTP/1.1" + rest,
		"GET javascript:1 HTTP/1.1" + rest,
		"GET http:/a/ HTTP/1.1" + rest,
		"GET http:a HTTP/1.1" + rest,
		"GET http:// HTTP/1.1" + rest,
		"GET http:///x HTTP/1.1" + rest,
		"GET http://u:p@a/ HTTP/1.1" + rest,
		"GET http://a@b/ HTTP/1.1" + rest,
		"GET http://a:b/ HTTP/1.1" + rest,
		"GET http://a:80:80/ HTTP/1.1" + rest,
		"GET http://a,b/ HTTP/1.1" + rest,
		"GET http://a\\b/ HTTP/1.1" + rest,
		"GET http://[::1/ HTTP/1.1" + rest,
		"GET http://a?b#c HTTP/1.1" + rest,
		"GET http://a#b HTTP/1.1" + rest,
		"GET http://a\x00/ HTTP/1.1" + rest,
		"GET http://a%00@b/ HTTP/1.1" + rest,
		"GET http://[::1%25x]/ HTTP/1.1" + rest,
		"GET http://[v1.a]/ HTTP/1.1" + rest,
		"GET http://a:/x y HTTP/1.1" + rest,
		"GET //a\\b c HTTP/1.1" + rest,
		"GET ws://a/ HTTP/1.1" + rest,
		"GET httpx://a/ HTTP/1.1" + rest,
		"GET\x0b/ HTTP/1.1" + rest,
		"GET\xa0/ HTTP/1.1" + rest,
		"GET /\xa0HTTP/1.1" + rest,
		"GET /\x85 HTTP/1.1" + rest,
		"GET / HTTP/1.1\x00" + rest,
		"GET / HTTP/1.\xef\xbc\x91" + rest,
		"GET / \"HTTP/1.1\"" + rest,
		"GET / HTTP/1.1, HTTP/1.0" + rest,
		"GET /\r\n HTTP/1.1" + rest,
		"GET /x HTTP/1.1\r\n\r\nHost: a\r\n\r\n",
		"+GET\x00 / HTTP/1.1" + rest,
		"\n\r\nGET / HTTP/1.1" + rest,
		"\r\n\nGET / HTTP/1.1" + rest,
		"GET http://a/ HTTP/1.1\r\n\r\n", // without Host
		"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
	}
}

// badAuthorities are invalid both as Host and in a request target.
var badAuthorities = []string{
	"a%zz", "a%", "a%4", "%", "%zz.b", "a%g0:80", "[1::2::3]", "[:::]", "[::::]", "[1:2]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7:8::]", "[::12345]",
	"[::1.2.3]", "[::1.2.3.256]", "[::1.2.3.04]", "[1.2.3.4]", "[1.2.3.4::]", "[::1%25eth0]", "[fe80::1%eth0]", "[::1%]", "[:1]", "[1:]", "[::g]", "[v1.a]", "[v1.a:b]", "[ ::1]", "[::1 ]",
	"[[::1]]", "[::1", "::1", "1:2:3", "[::1]80", "[::1]:a", "[::1]:65536", "a:65536", "a:99999", "a:1234567", "a:0x50", "a:8 0", "a::80", "u:p@a", "@a", "a@", "a[b]", "a]", "[]", "[]:80", ":", ":80",
	"a%00", "a%00.b", "a%0d%0a", "a%20b", "a%09", "a%7f", "a%2fb", "a%2Fb", "a%5cb", "a%3a80", "a%3A:80", "u%40a", "a%3f", "a%23b", "%5b::1%5d", "a%25", "a%2500", "a%22",
	"a/b", "a\\b", "a,b", "a\"b", "a<b", "a{b", "a|b", "a^b", "a`b", "\xc3\xa9", "a\xff", "[::1\xff]",
}

// authorities returns requests with badAuthorities in either place.
func authorities() []string {
	var raws []string
	for _, a := range badAuthorities {
		raws = append(raws, "GET /h HTTP/1.1\r\nHost: "+a+"\r\n\r\n")
		if a != "a/b" {
			raws = append(raws, "GET http://"+a+"/h HTTP/1.1\r\nHost: a\r\n\r\n")
		}
	}
	return raws
}

func versions() []string {
	const rest = "\r\nHost: a\r\n\r\n"
	return []string{
		"GET / HTTP/0.9" + rest, "GET / HTTP/1.2" + rest, "GET / HTTP/1.9" + rest, "GET / HTTP/2.0" + rest, "GET / HTTP/3.0" + rest,
		"GET / HTTP/9.9" + rest, "PRI * HTTP/2.0" + rest,
	}
}

var badFields = []string{
	"X : 1\r\n", "X\t: 1\r\n", "X\x0b: 1\r\n", " X: 1\r\n", "\tX: 1\r\n", ": 1\r\n", "X\r\n", "X Y: 1\r\n", "X\x00: 1\r\n", "X\x00Y: 1\r\n",
	"X(: 1\r\n", "X@: 1\r\n", "X\"Y: 1\r\n", "X/Y: 1\r\n", "X[: 1\r\n", "X{: 1\r\n", "X=Y: 1\r\n", "X;Y: 1\r\n", "X,Y: 1\r\n", "X\\: 1\r\n",
	"\xc3\xa9: 1\r\n", "X\xa0: 1\r\n", "X\x7f: 1\r\n", "X: 1\x00\r\n", "X: \x00\r\n", "X: 1\x7f\r\n", "X: 1\x012\r\n", "X: 1\x082\r\n", "X: 1\x0b2\r\n",
	"X: 1\x0c2\r\n", "X: 1\x1b2\r\n", "X: 1\r2\r\n", "X: 1\r\r\n", "X: \r1\r\n", "X: 1\n", "X: 1\nY: 2\r\n", "X\n: 1\r\n", "X: 1\n\rY: 2\r\n",
	"X: 1\r\n 2\r\n", "X: 1\r\n\t2\r\n", "X:\r\n 1\r\n", "X: 1\r\n \r\n", "X: 1\r\n Content-Length: 5\r\n", "X: 1\r\n\tTransfer-Encoding: chunked\r\n",
	"GET " + Canary + " HTTP/1.1\r\n", "X: 1\r\n\n", "\n", "\r\r\n", "X: 1\r\n\rY: 2\r\n", "Content-Length\x00: 5\r\n",
	"Connection: " + strings.Repeat("x,", 400) + "\r\n",
}

var firstFields = []string{" X: 1\r\n", "\tX: 1\r\n", " \r\n", "X\r\n", " Transfer-Encoding: chunked\r\n", "\x00: 1\r\n"}

var badHosts = []string{
	"", "X: a\r\n", "Host:\r\n", "Host: \r\n", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a\r\nX: 1\r\nHOST: " + "a\r\n", "Host: a b\r\n",
	"Host: a, b\r\n", "Host: a,b\r\n", "Host: a/b\r\n", "Host: a/\r\n", "Host: http://a\r\n", "Host: u@a\r\n", "Host: a?b\r\n", "Host: a#b\r\n", "Host: a\\b\r\n",
	"Host: a:b\r\n", "Host: a:80:80\r\n", "Host: a:80 \t x\r\n", "Host: a:-1\r\n", "Host: a:+80\r\n", "Host: a:999999\r\n", "Host: :80\r\n", "Host: [::1\r\n",
	"Host: [::1]x\r\n", "Host: [a]\r\n", "Host: []\r\n", "Host: [::1]:x\r\n", "Host: a\x00\r\n", "Host: a\xc3\xa9\r\n", "Host: \"a\"\r\n", "Host: <a>\r\n", "Host: a|b\r\n",
	"Host : a\r\n", "Host: a\r\n b\r\n", "Host\r\n: a\r\n", " Host: a\r\n", "Host: a\r\nHost : b\r\n", "X-Y: 1\r\nHost: a\nHost: b\r\n", "Host: a^b\r\n", "Host: a`b\r\n",
}

var badLengths = []string{
	"Content-Length:\r\n", "Content-Length: \r\n", "Content-Length: +5\r\n", "Content-Length: -5\r\n", "Content-Length: -0\r\n", "Content-Length: 0x5\r\n",
	"Content-Length: 5x\r\n", "Content-Length: x\r\n", "Content-Length: 5.0\r\n", "Content-Length: 5e1\r\n", "Content-Length: 1_0\r\n", "Content-Length: 5 0\r\n",
	"Content-Length: 5;\r\n", "Content-Length: 5,\r\n", "Content-Length: ,5\r\n", "Content-Length: 5,5\r\n", "Content-Length: 5, 5\r\n", "Content-Length: 5, 6\r\n",
	"Content-Length: 0, 5\r\n", "Content-Length: \"5\"\r\n", "Content-Length: '5'\r\n", "Content-Length: 5\x00\r\n", "Content-Length: \x0b5\r\n", "Content-Length: 5\x0b\r\n",
	"Content-Length: \xa05\r\n", "Content-Length: \xd9\xa5\r\n", "Content-Length: 99999999999999999999\r\n", "Content-Length: 18446744073709551616\r\n",
	"Content-Length: 9223372036854775808\r\n", "Content-Length: 18446744073709551621\r\n", "Content-Length: 4294967301x\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
	"Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 0\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 0\r\n", "Content-Length: 5\r\ncontent-length: 5\r\n",
	"Content-Length: 5\r\nX: 1\r\nCONTENT-LENGTH: 0\r\n", "Content-Length : 5\r\n", "Content-Length\t: 5\r\n", " Content-Length: 5\r\n", "Content-Length: 0\r\n 5\r\n",
	"Content-Length:\r\n 5\r\n", "Content-Length: 5\n", "Content-Length: 5\r\r\n", "Content-Length\n: 5\r\n", "Content-Length: true\r\n", "Content-Length: null\r\n", "Content-Length: 0b101\r\n",
	"Content-Length: 0o5\r\n", "Content-Length: 5h\r\n", "Content-Length: 5L\r\n", "Content-Length: 5\xa0\r\n", "Content-Length: \xc2\xa05\r\n", "Content-Length: 5\x85\r\n", "Content-Length: \xef\xbc\x95\r\n", "Content-Length: (5)\r\n",
	"Content-Length: 5\t5\r\n", "Content-Length: 5\r\nContent-Length: 05\r\n", "Content-Length: 5\r\nContent-Length: \r\n", "Content-Length: \r\nContent-Length: 5\r\n", "Content-Length: 5 , 5\r\n", "Content-Length: --5\r\n", "Content-Length: ++5\r\n",
	"Content-Length: 0000000000000000000000005\r\n", "Content-Length: 5\x1f\r\n", "Content-Length: \x1c5\r\n", "Content-Length: 5;x=y\r\n", "Content-Length: =5\r\n", "Content-Length\xa0: 5\r\n", "Content-Length;: 5\r\n", "Content-Length\r: 5\r\n",
}

var badCodings = []string{
	"Transfer-Encoding:\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding: gzip\r\n", "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: chunkedx\r\n",
	"Transfer-Encoding: chunk\r\n", "Transfer-Encoding: \"chunked\"\r\n", "Transfer-Encoding: 'chunked'\r\n", "Transfer-Encoding: chunked;\r\n", "Transfer-Encoding: chunked;q=1\r\n",
	"Transfer-Encoding: chunked,\r\n", "Transfer-Encoding: ,chunked\r\n", "Transfer-Encoding: , chunked\r\n", "Transfer-Encoding: chunked, \r\n", "Transfer-Encoding: chunked, chunked\r\n",
	"Transfer-Encoding: chunked,chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked, gzip\r\n", "Transfer-Encoding: identity, chunked\r\n",
	"Transfer-Encoding: chunked, identity\r\n", "Transfer-Encoding: chunked identity\r\n", "Transfer-Encoding: x, chunked\r\n", "Transfer-Encoding: trailers\r\n",
	"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
	"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n",
	"Transfer-Encoding : chunked\r\n", "Transfer-Encoding\t: chunked\r\n", " Transfer-Encoding: chunked\r\n", "\tTransfer-Encoding: chunked\r\n", "Transfer-Encoding: \x0bchunked\r\n",
	"Transfer-Encoding: \x0cchunked\r\n", "Transfer-Encoding: chunked\x00\r\n", "Transfer-Encoding: \x00chunked\r\n", "Transfer-Encoding: chunked\x0b\r\n", "Transfer-Encoding: \xa0chunked\r\n",
	"Transfer-Encoding:\r\n chunked\r\n", "Transfer-Encoding: chunked\r\n x\r\n", "Transfer-Encoding\r\n: chunked\r\n", "Transfer-Encoding: chunked\n", "Transfer-Encoding: chunked\r\r\n",
	"Transfer-Encoding: \rchunked\r\n", "X: 1\nTransfer-Encoding: chunked\r\n", "X: 1\rTransfer-Encoding: chunked\r\n", "X: 1\r\n\rTransfer-Encoding: chunked\r\n", "Transfer-Encoding\x00: chunked\r\n",
	"Transfer-Encoding: chunked\xa0\r\n", "Transfer-Encoding: \x85chunked\r\n", "Transfer-Encoding: chunked\x85\r\n", "Transfer-Encoding: \xe2\x80\x8bchunked\r\n", "Transfer-Encoding: \xef\xbb\xbfchunked\r\n",
	"Transfer-Encoding: chunked\x1f\r\n", "Transfer-Encoding: \x1cchunked\r\n", "Transfer-Encoding: chunked;chunked\r\n", "Transfer-Encoding: \"\" chunked\r\n", "Transfer-Encoding: \"a,chunked\r\n", "Transfer-Encoding: chunked\\\r\n",
	"Transfer-Encoding: (x) chunked\r\n", "Transfer-Encoding: chunked (x)\r\n", "Transfer-Encoding: chunked\t, identity\r\n", "Transfer-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding:\tx\tchunked\r\n",
	"Transfer\u2010Encoding: chunked\r\n", "Transfer-Encoding\xa0: chunked\r\n", "Transfer-Encoding;: chunked\r\n", "Transfer-Encoding= chunked\r\n", "Transfer-Encoding\r: chunked\r\n", "Transfer-Encoding:chunked\x00x\r\n",
	"\x00Transfer-Encoding: chunked\r\n", "Transfer-Encoding: c\xc4\xb1hunked\r\n", "Transfer-Encoding: chun\xe2\x84\xaaed\r\n", "Transfer Encoding: chunked\r\n", "Transfer-Encoding: chunked chunked\r\n",
}

var bothFramings = []string{
	"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
	"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "content-length: 5\r\ntransfer-encoding: CHUNKED\r\n", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
	"Transfer-Encoding: x\r\nContent-Length: 5\r\n", "Transfer-Encoding:\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nX: 1\r\nTransfer-Encoding: chunked\r\nY: 1\r\n",
	"Connection: Content-Length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Connection: Transfer-Encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
	"Content-Length: 5\r\nTransfer-Encoding : chunked\r\n", "Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n", "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
	"Content-Length: 5\r\n Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
}

var oldCodings = []string{
	"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
	"Content-Length: 5, 5\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n", "Host: a\r\n", "X : 1\r\n",
}

var badChunks = []string{
	"+3\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n", "3h\r\nabc\r\n0\r\n\r\n", "g\r\nabc\r\n0\r\n\r\n", "\r\nabc\r\n0\r\n\r\n", " 3\r\nabc\r\n0\r\n\r\n",
	"3 \r\nabc\r\n0\r\n\r\n", "3\t\r\nabc\r\n0\r\n\r\n", "\t3\r\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "3\rabc\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "3\r\nabc0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n",
	"3\r\nabcde\r\n0\r\n\r\n", "2\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\r\n0\r\n\r\n", "3\r\nabc\rX0\r\n\r\n", "3\r\nabc\r\n0\n\r\n", "3\r\nabc\r\n0\r\n\n", "3\r\nabc\r\n0\r\r\n\r\n",
	"3\r\nabc\r\n-0\r\n\r\n", "3\r\nabc\r\n+0\r\n\r\n", "3\r\nabc\r\n0x0\r\n\r\n", "3\r\nabc\r\n0 \r\n\r\n", "3\r\nabc\r\nx\r\n\r\n", "3,3\r\nabc\r\n0\r\n\r\n", "3.0\r\nabc\r\n0\r\n\r\n",
	"3_0\r\nabc\r\n0\r\n\r\n", "fffffffffffffffff\r\nabc", "10000000000000003\r\nabc\r\n0\r\n\r\n", "8000000000000003\r\nabc\r\n0\r\n\r\n", strings.Repeat("0", 300) + "3\r\nabc\r\n0\r\n\r\n",
	"3\x00\r\nabc\r\n0\r\n\r\n", "3;\r\nabc\r\n0\r\n\r\n", "3; \r\nabc\r\n0\r\n\r\n", "3;=\r\nabc\r\n0\r\n\r\n", "3;a=\r\nabc\r\n0\r\n\r\n", "3;a b\r\nabc\r\n0\r\n\r\n", "3;a=b c\r\nabc\r\n0\r\n\r\n",
	"3;a=\"b\r\nabc\r\n0\r\n\r\n", "3;a=\"b\"c\r\nabc\r\n0\r\n\r\n", "3;a\nb\r\nabc\r\n0\r\n\r\n", "3;a\rb\r\nabc\r\n0\r\n\r\n", "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n", "3;\x00\r\nabc\r\n0\r\n\r\n",
	"3;a\x0b\r\nabc\r\n0\r\n\r\n", "3;a;\r\nabc\r\n0\r\n\r\n", "3a;\xff\r\nabc\r\n0\r\n\r\n", "3;a=b \r\nabc\r\n0\r\n\r\n", "3 a\r\nabc\r\n0\r\n\r\n", "3;a\n0\r\n\r\n" + Smuggled,
	"5;x\nxx\r\n4c\r\n0\r\n\r\n", "3;" + strings.Repeat("a", 9000) + "\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0;\r\n\r\n", "3\r\nabc\r\n0;a\nb\r\n\r\n", "3\r\nabc\r\n;\r\n0\r\n\r\n",
	"3\r\nabcXX0\r\n\r\n", "3\r\nabc\n\n0\r\n\r\n", "3\r\nabc\r\r0\r\n\r\n", "3\r\nabc \r\n0\r\n\r\n", "3\r\nabc\n\r0\r\n\r\n", "3\r\n\nabc\r\n0\r\n\r\n", "3\n\nabc\r\n0\r\n\r\n", "3\r\nabc\x00\r\n0\r\n\r\n",
	"3\xa0\r\nabc\r\n0\r\n\r\n", "3\x85\r\nabc\r\n0\r\n\r\n", "3\x0b\r\nabc\r\n0\r\n\r\n", "\xef\xbc\x93\r\nabc\r\n0\r\n\r\n", "0_3\r\nabc\r\n0\r\n\r\n", "3L\r\nabc\r\n0\r\n\r\n", "\"3\"\r\nabc\r\n0\r\n\r\n", "3=\r\nabc\r\n0\r\n\r\n",
	"3#x\r\nabc\r\n0\r\n\r\n", "3 3\r\nabc\r\n0\r\n\r\n", "3;;\r\nabc\r\n0\r\n\r\n", "3;a=\"\\\r\nabc\r\n0\r\n\r\n", "3;a=\"\r\nabc\r\n0\r\n\r\n\"\r\nabc\r\n0\r\n\r\n", "3;a=\x85\r\nabc\r\n0\r\n\r\n", "100000003\nabc\r\n0\r\n\r\n",
	"3\r\nabc\r\n00x\r\n\r\n", "3\r\nabc\r\n0\x00\r\n\r\n", "3\r\nabc\r\n0,0\r\n\r\n", "3\r\nabc\r\n\x000\r\n\r\n", "3\r\nabc\r\n0\r\n\r" + "X" + Smuggled, "3\r\nabc\r\n0\r\nX: 1\r\n\n",
	strings.Repeat("1;"+strings.Repeat("e", 100)+"\r\nx\r\n", 200) + "0\r\n\r\n",
}

var badTrailers = []string{
	"X\r\n", "X : 1\r\n", " X: 1\r\n", "X: 1\r\n 2\r\n", "X: 1\n", "\n", "X: \x00\r\n", "X: 1\r2\r\n", ": 1\r\n", "X Y: 1\r\n", "X\x00: 1\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
	"Host: b\r\n", "GET " + Canary + " HTTP/1.1\r\n", "X: " + strings.Repeat("a", 9000) + "\r\n", strings.Repeat("X: 1\r\n", 3000), "content-length: 0\r\n",
}

var badAnnouncements = []string{"Content-Length", "X, transfer-encoding", "Host", "X,Trailer", "X\r\nTrailer: Content-Length"}

var badExpectations = []string{
	"Expect: 200-ok\r\n", "Expect: 100-continue, x\r\n", "Expect: x 100-continue\r\n", "Expect: 100-continue\r\nExpect: 100-continue\r\n", "Expect: 100-continue;q=1\r\n", "Expect:\r\n",
	"Expect: 100\r\n", "Expect: y\r\n",
}

// harmless returns requests that look unusual or have been used in attacks, but have only one meaning. The smuggled
// bytes are the body of the request, or are absent.
func harmless() []string {
	n := len(Smuggled)
	return []string{
		fmt.Sprintf("GET /own HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\nConnection: close\r\n\r\n%X\r\n%s\r\n000\r\n\r\n", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x;a=b;c=\"d\\\"e\" ; f\r\n%s\r\n0;g\r\nX: 1\r\n\r\n", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nConnection: close, Content-Length\r\nContent-Length: %d\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nConnection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, Smuggled),
		fmt.Sprintf("DELETE /own HTTP/1.1\r\nHost: a\r\nContent-Length:%d \t\r\nConnection: close\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nContent-Length: 000%d\r\nConnection: close\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("HEAD /own HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("POST http://b/own HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("\r\nPOST /own HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", n, Smuggled),
		"GET /own HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\r\n",
		"GET /own HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: close\r\n\r\n",
		"GET /own HTTP/1.1\r\nHost: a\r\nX-Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nContent-Length: %d\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nTransfer_Encoding: chunked\r\nConnection: close\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\t \r\nContent_Length: 3\r\nConnection: close\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nConnection: close, Host, Connection\r\nContent-Length: %d\r\nKeep-Alive: x\r\n\r\n%s", n, Smuggled),
		fmt.Sprintf("POST /own HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nConnection: close\r\n\r\n%040x\r\n%s\r\n0000000000000000000\r\nX: 1\r\nX_Y: 2\r\n\r\n", n, Smuggled),
		"GET /own HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: POST\r\nContent_Length: 5\r\nConnection: close\r\n\r\n",
		"GET /own HTTP/1.1\r\nHost: [1:2:3:4:5:6:7::]:\r\nConnection: close\r\n\r\n",
		"GET http://[::ffff:192.0.2.1]:65535/own HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET /own HTTP/1.1\r\nHost: a_b.%41-c.%c3%bc.example:00080\r\nConnection: close\r\n\r\n",
		"GET /own HTTP/1.1\r\nHost: a\r\nX: a\xffb\r\nConnection: close\r\n\r\n",
		"GET /own?a=%00%0d%0a%0d%0aGET%20" + Canary + "%20HTTP/1.1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	}
}
