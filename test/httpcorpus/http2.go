package httpcorpus

import (
	"fmt"
	"strconv"
	"strings"
)

// HTTP2Request is an HTTP/2 request that is made to become a different request when it is forwarded as HTTP/1.1. Its fields, data and
// trailers either contain bytes that HTTP/2 can carry anywhere but that HTTP/1.1 uses as separators, or describe a different framing.
type HTTP2Request struct {
	Name     string
	Fields   [][2]string // including the pseudo-fields, in the order in which they are sent
	Body     string      // sent as DATA, unless it is empty and there are no trailers
	Trailers [][2]string
	Status   int // status of the rejection, or Reset, or WithoutData; 0 if the request has only one meaning and is served
}

const (
	// Reset is the Status of a request whose stream is reset, because its header was already forwarded when the fault arrived.
	Reset = -1
	// WithoutData is the Status of a request whose header says that it has no data. Its stream is reset when the data arrives, but the request may
	// have been served before that, without the data.
	WithoutData = -2
)

// HTTP2Requests returns the hostile requests, and a few unusual ones that are served.
func HTTP2Requests() []HTTP2Request {
	var all []HTTP2Request
	add := func(status int, group string, requests ...HTTP2Request) {
		for i, r := range requests {
			r.Name, r.Status = fmt.Sprintf("%s %02d", group, i+1), status
			all = append(all, r)
		}
	}
	add(400, "h2 name", withNames()...)
	add(400, "h2 value", withValues()...)
	add(400, "h2 connection", withFields("connection", "close", "connection", "keep-alive", "connection", "transfer-encoding", "keep-alive", "timeout=5",
		"proxy-connection", "keep-alive", "upgrade", "h2c", "upgrade", "websocket", "te", "gzip", "te", "chunked", "te", "trailers, deflate", "te", "",
		"transfer-encoding", "chunked", "transfer-encoding", "identity", "transfer-encoding", "", "transfer-encoding", "gzip, chunked",
		"transfer-encoding", "xchunked")...)
	add(400, "h2 length", withLengths("", "+7", "-7", "0x7", "7, 7", "7,8", "7 ", " 7", "7\n", "7;", "7e0", "٧", "99999999999999999999")...)
	add(400, "h2 lengths", HTTP2Request{Fields: request("content-length", "7", "content-length", "7"), Body: "0123456"},
		HTTP2Request{Fields: request("content-length", "7", "content-length", "0"), Body: "0123456"})
	add(400, "h2 pseudo", withPseudoFields()...)
	add(400, "h2 method", withPseudo(":method", "", "GET ", " GET", "G\tT", "G\x00T", "GET /canary HTTP/1.1\r\nhost: a\r\n\r\nGET", "GET\r\n", "G:T")...)
	add(501, "h2 connect", HTTP2Request{Fields: [][2]string{{":method", "CONNECT"}, {":authority", "a:443"}}})
	add(400, "h2 connect with path", HTTP2Request{Fields: [][2]string{{":method", "CONNECT"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/x"}}})
	add(400, "h2 path", withPseudo(":path", "", "canary", "*", "/a b", "/a\tb", "/a\r\nx: y", "/a\nx: y", "/a\x00b", "/a\x7fb", "/a#b", "/\xc3\xa9", "/%zz",
		"/ HTTP/1.1\r\nhost: a\r\n\r\n"+Smuggled, "/ HTTP/1.1", "http://b/", "a:80")...)
	add(400, "h2 authority", withPseudo(":authority", "", "a b",
		"a/b", "a\r\nx: y", "a\nx: y", "a\x00", "a,b", "u@a", "a:b", "a:99999", "[1::2::3]", "a%00", "a#b")...)
	add(400, "h2 scheme", withPseudo(":scheme", "", "ftp", "http\r\nx: y", "http ", "h\x00")...)
	add(400, "h2 host", HTTP2Request{Fields: request("host", "b")}, HTTP2Request{Fields: request("host", "a", "host", "a")},
		HTTP2Request{Fields: [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/x"}}},
		HTTP2Request{Fields: [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/x"}, {"host", "a/b"}}})
	add(417, "h2 expect", HTTP2Request{Fields: request("expect", "something")})
	add(WithoutData, "h2 no data", HTTP2Request{Fields: request("content-length", "0"), Body: Smuggled})
	add(Reset, "h2 data", HTTP2Request{Fields: request("content-length", "3"), Body: "abc" + Smuggled},
		HTTP2Request{Fields: request("content-length", "500"), Body: "abc"}, HTTP2Request{Fields: request("content-length", "100000"), Body: Smuggled})
	add(400, "h2 length without data", HTTP2Request{Fields: request("content-length", "7")})
	add(Reset, "h2 trailer", withTrailers(":path", "/canary", ":status", "200", "X-T", "1", "x-t", "1\r\ny: 2", "x-t", "1\n", "x-t", "a\x00",
		"x\r\ny", "1", "x y", "1", "x:y", "1", "transfer-encoding", "chunked", "connection", "close", "", "1")...)
	add(0, "h2 one meaning", http2Harmless()...)
	return all
}

// request returns the fields of a POST request, including these additional fields.
func request(pairs ...string) [][2]string {
	list := [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/x"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, [2]string{pairs[i], pairs[i+1]})
	}
	return list
}

func withFields(pairs ...string) (list []HTTP2Request) {
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, HTTP2Request{Fields: request(pairs[i], pairs[i+1])})
	}
	return list
}

func withNames() (list []HTTP2Request) {
	for _, name := range []string{
		"", " ", "x ", " x", "x y", "x\ty", "x:", "x:y", "x\r", "x\n", "x\ry", "x\ny", "x\r\ny", "x\x00", "\x00x",
		"x\x01", "x\x7f", "X", "x-Y", "Content-Length", "x\xc3\xa9", "\xff",
		"x(", "x,y", "x;y", "x/y", "x\"y", "x{y}", "x@y",
		"x: y\r\ntransfer-encoding", "transfer-encoding: chunked\r\nx", "transfer-encoding:chunked\nx",
		"content-length: 0\r\n\r\n" + Smuggled + "x", "transfer-encoding ",
		"transfer-encoding:", "content-length:", "content-length\x00", "host: b\r\nx",
	} {
		list = append(list, HTTP2Request{Fields: request(name, "1")})
	}
	return list
}

func withValues() (list []HTTP2Request) {
	for _, value := range []string{
		"a\rb", "a\nb", "a\r\nb", "a\r\n b", "a\x00b", "\x00", "\r", "\n", "a\r", "a\n", "\x01", "a\x7f", "a\x0b", " a", "a ", "\ta", "a\t",
		"a\r\ntransfer-encoding: chunked", "a\ncontent-length: 0", "a\r\n\r\n" + Smuggled, "a\n\n" + Smuggled, "a\r\rb", "a\r\nhost: b",
	} {
		list = append(list, HTTP2Request{Fields: request("x", value)})
	}
	for _, name := range []string{"cookie", "host", "te", "user-agent", "expect", "content-type"} { // fields that are treated in a special way
		list = append(list, HTTP2Request{Fields: request(name, "a\r\nx: y")})
	}
	return list
}

func withLengths(values ...string) (list []HTTP2Request) {
	for _, value := range values {
		list = append(list, HTTP2Request{Fields: request("content-length", value), Body: "0123456"})
	}
	return list
}

// withPseudo returns requests in which one of the pseudo-fields has another value.
func withPseudo(name string, values ...string) (list []HTTP2Request) {
	for _, value := range values {
		fields := request()
		for i := range fields {
			if fields[i][0] == name {
				fields[i][1] = value
			}
		}
		list = append(list, HTTP2Request{Fields: fields})
	}
	return list
}

func withPseudoFields() (list []HTTP2Request) {
	all := request()
	for i := range all { // without each of them except :authority, and with each of them twice
		if all[i][0] != ":authority" {
			list = append(list, HTTP2Request{Fields: append(append([][2]string{}, all[:i]...), all[i+1:]...)})
		}
		list = append(list, HTTP2Request{Fields: append(request(), all[i])}, HTTP2Request{Fields: append([][2]string{{all[i][0], "other"}}, all...)})
	}
	list = append(list, withFields(":x", "1", ":status", "200", ":protocol", "websocket", ":", "1", ":Path", "/canary", ":path ", "/canary")...)
	after := append(append([][2]string{}, all[:3]...), [2]string{"x", "1"}, all[3])
	return append(list, HTTP2Request{Fields: after})
}

func withTrailers(pairs ...string) (list []HTTP2Request) {
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, HTTP2Request{Fields: request(), Body: "abc", Trailers: [][2]string{{pairs[i], pairs[i+1]}}})
	}
	return list
}

// http2Harmless are requests that look unusual but have only one meaning.
func http2Harmless() []HTTP2Request {
	get := [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/x"}}
	return []HTTP2Request{
		{Fields: get},
		{Fields: request()},
		{Fields: get, Body: Smuggled},
		{Fields: request(), Body: Smuggled},
		{Fields: request(), Body: "0\r\n\r\n" + Smuggled},
		{Fields: request("content-length", strconv.Itoa(len(Smuggled))), Body: Smuggled},
		{Fields: request("content-length", "5"), Body: "0\r\n\r\n"},
		{Fields: request("content-length", "0")},
		{Fields: request("te", "trailers"), Body: "abc", Trailers: [][2]string{{"x-t", "1"}}},
		{Fields: request(), Trailers: [][2]string{{"x-t", "1"}}},
		{Fields: request("cookie", "a=1", "cookie", "b=2", "cookie", "c=3")},
		{Fields: request("x", "")},
		{Fields: request("x", "a: b", "x", "transfer-encoding: chunked")},
		{Fields: request("x", "\xe9\xff")},
		{Fields: request("x-transfer-encoding", "chunked", "content_length", "5", "transfer_encoding", "chunked")},
		{Fields: request("host", "a")},
		{Fields: [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/x"}, {"host", "a"}}},
		{Fields: [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "//b/x?y=http://b/"}}},
	}
}

// HTTP2Response is a hostile response over HTTP/2.
type HTTP2Response struct {
	Name     string
	Fields   [][2]string
	Body     string
	Trailers [][2]string
	Late     bool // as in Response
}

// HTTP2Responses returns the hostile responses.
func HTTP2Responses() (list []HTTP2Response) {
	response := func(pairs ...string) [][2]string {
		fields := [][2]string{{":status", "200"}}
		for i := 0; i+1 < len(pairs); i += 2 {
			fields = append(fields, [2]string{pairs[i], pairs[i+1]})
		}
		return fields
	}
	add := func(group string, all ...HTTP2Response) {
		for i, r := range all {
			r.Name = fmt.Sprintf("%s %02d", group, i+1)
			list = append(list, r)
		}
	}
	injected := "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n" + Canary
	var values, names, statuses, fields, lengths, trailers []HTTP2Response
	for _, r := range withValues()[:23] {
		values = append(values, HTTP2Response{Fields: response("x", r.Fields[4][1])})
	}
	values = append(values, HTTP2Response{Fields: response("x", "a\r\ncontent-length: 0\r\n\r\n"+injected)},
		HTTP2Response{Fields: response("location", "/\r\nset-cookie: a=b")})
	for _, r := range withNames() {
		names = append(names, HTTP2Response{Fields: response(r.Fields[4][0], "1")})
	}
	for _, status := range []string{"", "20", "2000", "099", "abc", "101", "200 ", " 200", "200 OK", "200\r\nx: y", "-20", "+200", "2\x000"} {
		statuses = append(statuses, HTTP2Response{Fields: [][2]string{{":status", status}}})
	}
	statuses = append(statuses, HTTP2Response{Fields: [][2]string{{"x", "1"}}}, HTTP2Response{Fields: [][2]string{{"x", "1"}, {":status", "200"}}},
		HTTP2Response{Fields: response(":status", "200")}, HTTP2Response{Fields: response(":path", "/")}, HTTP2Response{Fields: response(":x", "1")})
	for _, pair := range [][2]string{
		{"connection", "close"},
		{"keep-alive", "timeout=5"},
		{"proxy-connection", "close"},
		{"upgrade", "h2c"},
		{"transfer-encoding", "chunked"},
		{"transfer-encoding", "identity"},
	} {
		fields = append(fields, HTTP2Response{Fields: response(pair[0], pair[1]), Body: injected})
	}
	for _, length := range []string{"", "+7", "-7", "0x7", "7, 7", "7 ", "7\n", "99999999999999999999"} {
		lengths = append(lengths, HTTP2Response{Fields: response("content-length", length), Body: Canary})
	}
	lengths = append(lengths, HTTP2Response{Fields: response("content-length", "7", "content-length", "7"), Body: Canary},
		HTTP2Response{Fields: response("content-length", "7")},
		HTTP2Response{Fields: response("content-length", "500"), Body: injected})
	for _, pair := range [][2]string{
		{":status", "200"}, {"X-T", "1"}, {"x-t", "1\r\n\r\n" + injected}, {"x-t", "a\x00"}, {"x\r\ny", "1"}, {"x:y", "1"}, {"connection", "close"},
	} {
		trailers = append(trailers, HTTP2Response{Fields: response(), Body: "abc", Trailers: [][2]string{pair}, Late: true})
	}
	add("h2 value", values...)
	add("h2 name", names...)
	add("h2 status", statuses...)
	add("h2 connection", fields...)
	add("h2 length", lengths...)
	add("h2 trailer", trailers...)
	add("h2 too long", HTTP2Response{Fields: response("content-length", "70000"), Body: strings.Repeat("a", 70000) + injected, Late: true})
	return list
}
