// Command forwarder is a minimal proxy made with fasthttp. It passes each request to one upstream and returns the
// response, both buffered, and adds no headers, timeouts, limits or records. It serves as the lower bound in the
// benchmark and is not meant for any other use.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/valyala/fasthttp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	upstream := flag.String("upstream", "", "host:port to forward to")
	flag.Parse()
	if err := serve(*listen, *upstream); err != nil {
		fmt.Fprintln(os.Stderr, "forwarder:", err)
		os.Exit(1)
	}
}

func serve(listen, upstream string) error {
	client := &fasthttp.HostClient{
		Addr: upstream, MaxConns: 4096,
		NoDefaultUserAgentHeader: true, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true,
	}
	server := &fasthttp.Server{
		NoDefaultServerHeader: true, NoDefaultDate: true, NoDefaultContentType: true, DisableHeaderNamesNormalizing: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			if err := client.Do(&ctx.Request, &ctx.Response); err != nil {
				ctx.Error(err.Error(), fasthttp.StatusBadGateway)
			}
		},
	}
	return server.ListenAndServe(listen)
}
