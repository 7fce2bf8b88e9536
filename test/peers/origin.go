package main

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// large is the body of /large: 1 MiB.
var large = strings.Repeat("0123456789abcdef", 1<<16)

// origin is an application with a few paths that the checks use. It runs in this process, on net/http.
type origin struct {
	served  atomic.Int64
	results chan []byte // reports from a browser
	http    string      // address with HTTP/1.1
	h2c     string      // address with HTTP/2 in cleartext
	h2      string      // address with HTTP/2 over TLS
}

func newOrigin() *origin { return &origin{results: make(chan []byte, 1)} }

// ServeHTTP serves a request:
//
//	/large     1 MiB
//	/echo      the body of the request
//	/trailers  the number of bytes in the request's body, with the request's trailer X-Sum as a trailer
//	/wait      nothing, until the client cancels the request
//	/missing   404
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.served.Add(1)
	if o.browse(w, r) {
		return
	}
	switch r.URL.Path {
	case "/large":
		w.Header().Set("Content-Length", strconv.Itoa(len(large)))
		_, _ = io.WriteString(w, large)
	case "/trailers":
		w.Header().Set("Trailer", "X-Sum")
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strconv.FormatInt(n, 10))
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
	case "/wait":
		<-r.Context().Done()
	case "/missing":
		http.NotFound(w, r)
	default:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
	}
}

// listen starts the three servers.
func (o *origin) listen(l *lab) error {
	for _, s := range []struct {
		addr           *string
		http2, private bool
	}{{&o.http, false, false}, {&o.h2c, true, false}, {&o.h2, true, true}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*s.addr = ln.Addr().String()
		server := &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols), TLSConfig: l.server.Clone()}
		server.Protocols.SetHTTP1(!s.http2)
		server.Protocols.SetHTTP2(s.private)
		server.Protocols.SetUnencryptedHTTP2(s.http2 && !s.private)
		serve := func() { _ = server.Serve(ln) }
		if s.private {
			serve = func() { _ = server.ServeTLS(ln, "", "") }
		}
		go serve()
		l.running = append(l.running, func() { _ = server.Close() })
	}
	return nil
}
