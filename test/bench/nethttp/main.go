// Command nethttp is a proxy made of net/http's server and httputil.ReverseProxy, used as in a typical Go program: it passes each request
// to one upstream over HTTP/1.1 and records nothing. It is a contestant of the benchmark over HTTP/2 and is not meant for any other use.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	upstream := flag.String("upstream", "", "host:port to forward to")
	cert := flag.String("tls-cert", "", "certificate file; empty: HTTP/2 in cleartext")
	key := flag.String("tls-key", "", "key file")
	flag.Parse()
	if err := serve(*listen, *upstream, *cert, *key); err != nil {
		fmt.Fprintln(os.Stderr, "nethttp:", err)
		os.Exit(1)
	}
}

func serve(listen, upstream, cert, key string) error {
	target := &url.URL{Scheme: "http", Host: upstream}
	server := &http.Server{
		Handler: &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host; r.SetXForwarded() },
			Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
			ErrorLog:  log.New(io.Discard, "", 0),
		},
		Protocols: new(http.Protocols), ReadHeaderTimeout: 10 * time.Second,
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(cert != "")
	server.Protocols.SetUnencryptedHTTP2(cert == "")
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if cert == "" {
		return server.Serve(ln)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return server.ServeTLS(ln, "", "")
}
