package e2e

import (
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// OriginBody is the body of every response of the origins.
const OriginBody = "the quick brown fox jumps over the lazy dog, and the books say so\n"

// StartOrigin starts an application in this process that responds to every request with OriginBody, and returns its URL. stop ends the
// application.
func StartOrigin() (url string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("start origin: %w", err)
	}
	server := &fasthttp.Server{
		Handler:         func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(OriginBody) },
		IdleTimeout:     2 * time.Minute,
		CloseOnShutdown: true,
	}
	go func() { _ = server.Serve(ln) }()
	return "http://" + ln.Addr().String(), func() { _ = server.Shutdown() }, nil
}
