// Command forwarder is a minimal proxy made with fasthttp. It passes each request to one upstream and returns the response. It buffers
// both, and adds no headers, timeouts, limits or records. With a certificate, it accepts TLS connections with the defaults of crypto/tls.
// It serves as the lower bound in the benchmark and is not meant for any other use.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"os"

	"github.com/valyala/fasthttp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	upstream := flag.String("upstream", "", "host:port to forward to")
	cert := flag.String("tls-cert", "", "certificate file; empty: no TLS")
	key := flag.String("tls-key", "", "key file")
	flag.Parse()
	if err := serve(*listen, *upstream, *cert, *key); err != nil {
		fmt.Fprintln(os.Stderr, "forwarder:", err)
		os.Exit(1)
	}
}

func serve(listen, upstream, cert, key string) error {
	client := &fasthttp.HostClient{
		Addr: upstream, MaxConns: 4096,
		NoDefaultUserAgentHeader: true, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true,
	}
	server := &fasthttp.Server{
		NoDefaultServerHeader: true, NoDefaultDate: true, NoDefaultContentType: true, DisableHeaderNamesNormalizing: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			if ctx.IsTLS() {
				ctx.URI().SetScheme("http") // HostClient compares it with the connection to the upstream
			}
			if err := client.Do(&ctx.Request, &ctx.Response); err != nil {
				ctx.Error(err.Error(), fasthttp.StatusBadGateway)
			}
		},
	}
	ln, err := net.Listen("tcp4", listen)
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
	return server.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
}
