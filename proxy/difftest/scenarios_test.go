package difftest

import "strings"

// scenarios returns all exchanges with which the proxies are compared.
func scenarios() []scenario {
	all := requestScenarios()
	all = append(all, bodyScenarios()...)
	all = append(all, strictScenarios()...)
	all = append(all, responseScenarios()...)
	return append(all, brokenScenarios()...)
}

// get returns a scenario with one GET request that has these fields.
func get(name, fields string) scenario {
	return scenario{name: name, send: []string{"GET /x HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n"}}
}

func raw(name, request string) scenario { return scenario{name: name, send: []string{request}} }

// answered returns a scenario with a plain GET request and this response from the origin.
func answered(name, answer string) scenario {
	s := get(name, "")
	s.answer = answer
	return s
}

func (s scenario) with(change func(*scenario)) scenario {
	change(&s)
	return s
}

func formed(s scenario) scenario { return s.with(func(s *scenario) { s.form = true }) }
func final(s scenario) scenario  { return s.with(func(s *scenario) { s.last = true }) }

func closing(s scenario) scenario { return s.with(func(s *scenario) { s.after = "close" }) }

func requestScenarios() []scenario {
	return []scenario{
		get("plain", "Accept: */*\r\n"),
		raw("path encoded", "GET /a%2Fb/%41/%c3%a9/;p=1?q=%20+&r=%3B HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("path dots", "GET /a/../b/./c/.. HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("path slashes", "GET //other/x// HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("path specials", "GET /x'()*!$&,:@=+~_-.|^[]{}\"<>\\`?a=|^[]{}\"<>\\` HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("query semicolon", "GET /x?a=1;b=2&c HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("query encoding", "GET /x?a=%zz&%=%2 HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("query empty", "GET /x? HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("query question marks", "GET /x?a=?b??c HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("query long", "GET /x?"+strings.Repeat("q", 6000)+" HTTP/1.1\r\nHost: a\r\n\r\n"),
		formed(get("field order and case", "x-b: 1\r\nX-A: 2\r\nx-B: 3\r\nACCEPT: x\r\ncookie: a=b\r\nX-B: 4\r\n")),
		get("field repeated", "X: 1\r\nX: 2\r\nX: 1\r\n"),
		get("field empty", "X:\r\nY: \r\n"),
		get("field whitespace", "X: \t 1 \t \r\nY:2\r\nZ: 1  2\t3\r\n"),
		get("field bytes above ASCII", "X: \xe9\xff\r\n"),
		get("field long", "X: "+strings.Repeat("v", 7000)+"\r\n"),
		get("field underscore", "X_Y: 1\r\n"),
		get("field odd token", "X.Y!#$%&'*+^`|~: 1\r\n"),
		get("cookies", "Cookie: a=1\r\nCookie: b=2\r\n"),
		get("authorization", "Authorization: Basic eDp5\r\n"),
		get("accept-encoding", "Accept-Encoding: gzip\r\n"),
		get("user-agent empty", "User-Agent:\r\n"),
		get("connection names a field", "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nx-hop: 2\r\nX-End: 3\r\n"),
		get("connection names Host", "Connection: Host\r\n"),
		get("connection twice", "Connection: X-A\r\nConnection: X-B\r\nX-A: 1\r\nX-B: 2\r\n"),
		get("hop-by-hop", "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nProxy-Authenticate: y\r\nTE: gzip\r\n"),
		get("te trailers", "TE: trailers\r\nConnection: TE\r\n"),
		get("upgrade to h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"),
		get("forwarded", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n").with(func(s *scenario) {
			s.keep = []string{"x-forwarded-for", "x-forwarded-proto", "forwarded"}
		}),
		get("forwarded imitated", "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Proto: https\r\nX_Real_IP: 6.6.6.6\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Forwarded: 1\r\n"),
		get("trace context", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n"),
		get("range", "Range: bytes=0-1\r\nIf-Range: \"e\"\r\n").with(func(s *scenario) {
			s.answer = "HTTP/1.1 206 Partial Content\r\nX-Origin: 1\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nok"
		}),
		get("conditional", "If-None-Match: \"e\"\r\n").with(func(s *scenario) {
			s.answer = "HTTP/1.1 304 Not Modified\r\nX-Origin: 1\r\nETag: \"e\"\r\nContent-Length: 77\r\n\r\n"
		}),
		raw("head", "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n").with(func(s *scenario) { s.answer = "HTTP/1.1 200 OK\r\nX-Origin: 1\r\nContent-Length: 77\r\n\r\n" }),
		raw("head of chunked", "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n").with(func(s *scenario) {
			s.answer = "HTTP/1.1 200 OK\r\nX-Origin: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
		}),
		raw("head of unknown", "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n").with(func(s *scenario) { s.answer = "HTTP/1.1 200 OK\r\nX-Origin: 1\r\n\r\n" }),
		raw("method unknown", "BREW /x HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("method punctuated", "M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("method lower case", "get /x HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("method odd token", "A!#$%&'*+.^_`|~9 /x HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("trace", "TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("options asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("options absolute", "OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n"),
		raw("options max-forwards", "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n"),
		raw("options max-forwards 0", "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"),
		raw("trace max-forwards 0", "TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"),
		raw("get max-forwards", "GET /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"),
		raw("absolute", "GET http://b:81/x?y HTTP/1.1\r\nHost: b:81\r\n\r\n"),
		raw("absolute other host", "GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("absolute upper case", "GET HTTP://B/x HTTP/1.1\r\nHost: B\r\n\r\n"),
		raw("absolute no path", "GET http://b HTTP/1.1\r\nHost: b\r\n\r\n"),
		raw("absolute query only", "GET http://b?y=1 HTTP/1.1\r\nHost: b\r\n\r\n"),
		raw("host with port", "GET /x HTTP/1.1\r\nHost: Example.COM:8080\r\n\r\n"),
		raw("host default port", "GET /x HTTP/1.1\r\nHost: a:80\r\n\r\n"),
		raw("host address", "GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
		raw("host after others", "GET /x HTTP/1.1\r\nX: 1\r\nhost: a\r\n\r\n"),
		final(raw("1.0", "GET /x HTTP/1.0\r\nHost: a\r\n\r\n")),
		final(raw("1.0 without Host", "GET /x HTTP/1.0\r\n\r\n")),
		raw("1.0 keep-alive", "GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"),
		final(get("connection close", "Connection: close\r\n")),
		get("connection keep-alive", "Connection: keep-alive\r\n"),
		raw("empty line first", "\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("pipeline", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n"),
		raw("pipeline with body", "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n"),
	}
}

func bodyScenarios() []scenario {
	post := func(name, rest string) scenario { return raw(name, "POST /x HTTP/1.1\r\nHost: a\r\n"+rest) }
	return []scenario{
		post("body length", "Content-Length: 3\r\n\r\nabc"),
		post("body length 0", "Content-Length: 0\r\n\r\n"),
		post("body none", "\r\n"),
		post("body length tab", "Content-Length: 3\t\r\n\r\nabc"),
		post("body length zeros", "Content-Length: 003\r\n\r\nabc"),
		post("body large", "Content-Length: 200000\r\n\r\n"+strings.Repeat("b", 200000)),
		post("body chunked", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
		post("body chunked empty", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		post("body chunked upper case", "TRANSFER-ENCODING: Chunked\r\n\r\nA\r\n0123456789\r\n000\r\n\r\n"),
		post("body chunked large", "Transfer-Encoding: chunked\r\n\r\n20000\r\n"+strings.Repeat("b", 0x20000)+"\r\n0\r\n\r\n"),
		post("body extension", "Transfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d\\\"e\"\r\nabc\r\n0;f\r\n\r\n"),
		post("body trailers", "Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
		post("body trailers unannounced", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
		post("body trailer authorization", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nAuthorization: x\r\nX-T: 1\r\n\r\n"),
		post("body trailer framing", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n"),
		post("body trailer announced", "Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
		post("body trailer hop", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nConnection: X\r\nX-T: 1\r\n\r\n"),
		raw("body of get", "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
		raw("body of delete chunked", "DELETE /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
		final(raw("body of 1.0", "POST /x HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")),
		post("expect", "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n").with(func(s *scenario) { s.send = append(s.send, "<100", "abc") }),
		post("expect chunked", "Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n").with(func(s *scenario) { s.send = append(s.send, "<100", "3\r\nabc\r\n0\r\n\r\n") }),
		final(post("expect refused", "Connection: close\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").with(func(s *scenario) {
			s.send = append(s.send, "<1 ")
			s.expect, s.answer = "final", "HTTP/1.1 403 No\r\nX-Origin: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
		})),
		post("expect not waited for", "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"),
		get("expect without body", "Expect: 100-continue\r\n"),
		post("expect unknown", "Content-Length: 3\r\nExpect: something\r\n\r\nabc"),
		final(raw("expect of 1.0", "POST /x HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")),
		final(post("early answer", "Connection: close\r\nContent-Length: 500000\r\n\r\n"+strings.Repeat("b", 500000)).with(func(s *scenario) {
			s.early, s.answer = true, "HTTP/1.1 413 Too much\r\nX-Origin: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
		})),
	}
}

func strictScenarios() []scenario {
	post := func(name, fields string) scenario {
		return raw("strict "+name, "POST /x HTTP/1.1\r\nHost: a\r\n"+fields+"\r\n")
	}
	line := func(name, line string) scenario { return raw("strict "+name, line+"\r\nHost: a\r\n\r\n") }
	return []scenario{
		post("length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
		post("two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
		post("two equal lengths", "Content-Length: 0\r\nContent-Length: 0\r\n"),
		post("length list", "Content-Length: 0, 0\r\n"),
		post("length signed", "Content-Length: +0\r\n"),
		post("length hex", "Content-Length: 0x0\r\n"),
		post("length empty", "Content-Length:\r\n"),
		post("coding list", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n"),
		post("coding identity", "Transfer-Encoding: identity\r\n"),
		post("coding unknown", "Transfer-Encoding: x\r\n"),
		post("coding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
		raw("strict coding in 1.0", "POST /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		post("chunk size space", "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n"),
		post("chunk size signed", "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n"),
		post("chunk size prefixed", "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n"),
		post("chunk bare LF", "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n"),
		post("chunk bad extension", "Transfer-Encoding: chunked\r\n\r\n3;a\x00\r\nabc\r\n0\r\n"),
		post("chunk extension without name", "Transfer-Encoding: chunked\r\n\r\n3;\r\nabc\r\n0\r\n"),
		get("strict folding", "X: 1\r\n 2\r\n"),
		get("strict bare LF", "X: 1\n"),
		get("strict bare CR", "X: 1\r2\r\n"),
		get("strict NUL", "X: \x00\r\n"),
		get("strict control", "X: \x01\r\n"),
		get("strict space before colon", "X : 1\r\n"),
		get("strict space in name", "X Y: 1\r\n"),
		get("strict no colon", "X\r\n"),
		get("strict empty name", ": 1\r\n"),
		get("strict two hosts", "Host: a\r\n"),
		raw("strict no host", "GET /x HTTP/1.1\r\n\r\n"),
		raw("strict empty host", "GET /x HTTP/1.1\r\nHost:\r\n\r\n"),
		raw("strict host with path", "GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n"),
		raw("strict host with user", "GET /x HTTP/1.1\r\nHost: u@a\r\n\r\n"),
		raw("strict host list", "GET /x HTTP/1.1\r\nHost: a,b\r\n\r\n"),
		raw("strict host with space", "GET /x HTTP/1.1\r\nHost: a b\r\n\r\n"),
		raw("strict host escape", "GET /x HTTP/1.1\r\nHost: a%zz\r\n\r\n"),
		raw("strict host IPv6", "GET /x HTTP/1.1\r\nHost: [1::2::3]\r\n\r\n"),
		raw("strict host bad port", "GET /x HTTP/1.1\r\nHost: a:b\r\n\r\n"),
		line("path encoding", "GET /%zz HTTP/1.1"),
		line("fragment", "GET /x#y HTTP/1.1"),
		line("path above ASCII", "GET /\xc3\xa9 HTTP/1.1"),
		line("path control", "GET /\x01 HTTP/1.1"),
		line("path space", "GET /a b HTTP/1.1"),
		line("two spaces", "GET  /x HTTP/1.1"),
		line("relative", "GET x HTTP/1.1"),
		line("asterisk", "GET * HTTP/1.1"),
		line("user", "GET http://u@a/x HTTP/1.1"),
		line("scheme", "GET ftp://a/x HTTP/1.1"),
		line("https", "GET https://a/x HTTP/1.1"),
		line("version 1.2", "GET /x HTTP/1.2"),
		line("version 2.0", "GET /x HTTP/2.0"),
		line("version 0.9", "GET /x HTTP/0.9"),
		line("version lower case", "GET /x http/1.1"),
		line("no version", "GET /x"),
		line("method", "G@T /x HTTP/1.1"),
		raw("strict line bare LF", "GET /x HTTP/1.1\nHost: a\r\n\r\n"),
		raw("strict connect", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
		raw("strict trace with body", "TRACE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
	}
}

func responseScenarios() []scenario {
	const ok = "HTTP/1.1 200 OK\r\nX-Origin: 1\r\n"
	http10 := func(s scenario) scenario {
		s.send = []string{"GET /x HTTP/1.0\r\nHost: a\r\n\r\n"}
		return final(s)
	}
	return []scenario{
		answered("answer chunked", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
		answered("answer chunked empty", ok+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		answered("answer trailers", ok+"Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
		answered("answer trailers unannounced", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
		answered("answer trailer cookie", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nSet-Cookie: a=b\r\n\r\n"),
		answered("answer extension", ok+"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n"),
		closing(answered("answer until close", ok+"\r\nabc")),
		answered("answer large", ok+"Content-Length: 200000\r\n\r\n"+strings.Repeat("b", 200000)),
		answered("answer large chunked", ok+"Transfer-Encoding: chunked\r\n\r\n20000\r\n"+strings.Repeat("b", 0x20000)+"\r\n0\r\n\r\n"),
		closing(answered("answer 1.0", "HTTP/1.0 200 OK\r\nX-Origin: 1\r\nContent-Length: 3\r\n\r\nabc")),
		closing(answered("answer 1.0 until close", "HTTP/1.0 200 OK\r\nX-Origin: 1\r\n\r\nabc")),
		answered("answer 1.0 keep-alive", "HTTP/1.0 200 OK\r\nX-Origin: 1\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"),
		http10(answered("answer chunked to 1.0", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")),
		http10(closing(answered("answer until close to 1.0", ok+"\r\nabc"))),
		http10(closing(answered("answer 103 to 1.0", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+okAnswer))),
		answered("answer 204", "HTTP/1.1 204 No Content\r\nX-Origin: 1\r\n\r\n"),
		answered("answer 204 length 0", "HTTP/1.1 204 No Content\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n"),
		answered("answer 205", "HTTP/1.1 205 Reset Content\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n"),
		answered("answer 304", "HTTP/1.1 304 Not Modified\r\nX-Origin: 1\r\nETag: x\r\n\r\n"),
		answered("answer 304 chunked", "HTTP/1.1 304 Not Modified\r\nX-Origin: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
		closing(answered("answer 103", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+okAnswer)),
		closing(answered("answer 102 twice", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"+okAnswer)),
		closing(answered("answer 100 unasked", "HTTP/1.1 100 Continue\r\n\r\n"+okAnswer)),
		closing(answered("answer 199", "HTTP/1.1 199 Odd\r\nX: 1\r\n\r\n"+okAnswer)),
		answered("answer 299", "HTTP/1.1 299 Odd\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n"),
		answered("answer 599", "HTTP/1.1 599 Odd\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n"),
		answered("answer 999", "HTTP/1.1 999 Odd\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n"),
		answered("answer without reason", "HTTP/1.1 200 \r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n"),
		answered("answer without reason or space", "HTTP/1.1 200\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n"),
		answered("answer 500", "HTTP/1.1 500 Oops\r\nX-Origin: 1\r\nContent-Length: 4\r\n\r\noops"),
		answered("answer 401", "HTTP/1.1 401 No\r\nX-Origin: 1\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"),
		answered("answer redirect", "HTTP/1.1 302 Found\r\nX-Origin: 1\r\nLocation: http://a/y\r\nRefresh: 1; url=/z\r\nContent-Length: 0\r\n\r\n"),
		answered("answer hop-by-hop", ok+"Keep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nTE: x\r\nContent-Length: 0\r\n\r\n"),
		answered("answer connection names a field", ok+"Connection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n"),
		closing(answered("answer connection close", ok+"Connection: close\r\nContent-Length: 0\r\n\r\n")),
		formed(answered("answer order and case", "HTTP/1.1 200 OK\r\nx-origin: 1\r\nX-B: 1\r\nset-cookie: a=1\r\nx-a: 2\r\nSet-Cookie: b=2\r\nX-b: 3\r\nETAG: x\r\nContent-Type: text/plain\r\nX-Z: 1\r\nContent-Length: 0\r\n\r\n")),
		answered("answer repeated", ok+"Content-Encoding: a\r\nContent-Encoding: b\r\nVary: x\r\nVary: y\r\nContent-Length: 0\r\n\r\n"),
		answered("answer whitespace", ok+"X: \t 1 \t\r\nY:\r\nContent-Length:0 \r\n\r\n"),
		answered("answer bytes above ASCII", ok+"X: \xe9\xff\r\nContent-Length: 0\r\n\r\n"),
		answered("answer large header", ok+"X: "+strings.Repeat("v", 3000)+"\r\nContent-Length: 0\r\n\r\n"),
		answered("answer date", ok+"Date: Mon, 01 Jan 2001 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n").with(func(s *scenario) { s.keep = []string{"date"} }),
		answered("answer server", ok+"Server: x\r\nContent-Length: 0\r\n\r\n").with(func(s *scenario) { s.keep = []string{"server"} }),
		answered("answer accel", ok+"X-Accel-Redirect: /y\r\nX-Accel-Buffering: no\r\nContent-Length: 0\r\n\r\n"),
		answered("answer with more behind it", okAnswer+"HTTP/1.1 200 OK\r\nX-Origin: 1\r\nContent-Length: 4\r\n\r\nevil"),
	}
}

func brokenScenarios() []scenario {
	const ok = "HTTP/1.1 200 OK\r\nX-Origin: 1\r\n"
	old := func(s scenario) scenario {
		s.send = []string{"GET /x HTTP/1.0\r\nHost: a\r\n\r\n"}
		return final(s)
	}
	reset := func(s scenario) scenario { s.after = "reset"; return s }
	return []scenario{
		closing(answered("broken length", ok+"Content-Length: 100\r\n\r\nabc")),
		closing(answered("broken length large", ok+"Content-Length: 100000\r\n\r\nabc")),
		closing(answered("broken chunked", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")),
		closing(answered("broken chunk", ok+"Transfer-Encoding: chunked\r\n\r\n5\r\nabc")),
		closing(answered("broken trailer", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n")),
		reset(answered("broken until close", ok+"\r\nabc")),
		old(closing(answered("broken chunked to 1.0", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"))),
		answered("broken chunk size", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\nabc\r\n0\r\n\r\n"),
		answered("broken chunk end", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
		closing(answered("broken header", ok+"Content-Le")),
		closing(scenario{name: "broken empty", send: []string{"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"}, answer: "\r\n"}),
		closing(answered("broken garbage", "garbage\r\n\r\n")),
		answered("broken length and chunked", ok+"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		answered("broken two lengths", ok+"Content-Length: 0\r\nContent-Length: 1\r\n\r\n"),
		answered("broken two equal lengths", ok+"Content-Length: 0\r\nContent-Length: 0\r\n\r\n"),
		answered("broken length list", ok+"Content-Length: 0, 0\r\n\r\n"),
		closing(answered("broken length signed", ok+"Content-Length: +0\r\n\r\n")),
		closing(answered("broken coding list", ok+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
		closing(answered("broken coding in 1.0", "HTTP/1.0 200 OK\r\nX-Origin: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
		answered("broken bare LF", "HTTP/1.1 200 OK\nX-Origin: 1\nContent-Length: 0\n\n"),
		answered("broken folding", ok+"X: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"),
		answered("broken NUL", ok+"X: \x00\r\nContent-Length: 0\r\n\r\n"),
		answered("broken space before colon", ok+"X : 1\r\nContent-Length: 0\r\n\r\n"),
		answered("broken space before length", ok+"Content-Length : 0\r\n\r\n"),
		answered("broken 204 with body", "HTTP/1.1 204 No Content\r\nX-Origin: 1\r\nContent-Length: 4\r\n\r\nevil"),
		closing(answered("broken 103 with length", "HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\n"+okAnswer)),
		closing(answered("broken 101 unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
		answered("broken version", "HTTP/2.0 200 OK\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n"),
		closing(answered("broken status", "HTTP/1.1 20 OK\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n")),
	}
}
