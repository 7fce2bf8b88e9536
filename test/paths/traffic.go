package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"

	"github.com/valyala/fasthttp"
)

// Each of routesMany real routes is requested routeTimes times.
const (
	routesMany = 50
	routeTimes = 40
	rowsMax    = 1000 // default of paths.max, the maximum number of templates shown
)

// route returns the path of a real route.
func route(i int) string {
	return fmt.Sprintf("/api/%s/list", strings.Repeat(string(rune('a'+i%25)), 3+i/25))
}

// randomPath appends a path that is requested only once. Such a path consists of one word, two words, or up to six words, lies below a
// known name, or has a known ending.
func randomPath(dst []byte, seed, nonce uint64) []byte {
	r := rand.New(rand.NewPCG(seed, nonce))
	word := func() {
		dst = append(dst, '/')
		for range 10 {
			dst = append(dst, byte('a'+r.IntN(26)))
		}
	}
	switch nonce % 5 {
	case 0:
		word()
	case 1:
		word()
		word()
	case 2:
		for range 1 + r.IntN(6) {
			word()
		}
	case 3:
		dst = append(dst, "/shop"...)
		word()
	default:
		word()
		dst = append(dst, []string{".php", ".asp", "/x/y.php"}[r.IntN(3)]...)
	}
	return dst
}

// startOrigin starts an origin that responds with 200 to real routes and to half of the random paths, and with 404 to the others.
func startOrigin() (address string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &fasthttp.Server{NoDefaultDate: true, Handler: func(ctx *fasthttp.RequestCtx) {
		path := ctx.Path()
		if !bytes.HasPrefix(path, []byte("/api/")) && path[len(path)-1]%2 == 0 {
			ctx.SetStatusCode(fasthttp.StatusNotFound)
		}
		ctx.SetBodyString("ok\n")
	}}
	go func() { _ = s.Serve(ln) }()
	return ln.Addr().String(), func() { _ = s.Shutdown() }, nil
}
