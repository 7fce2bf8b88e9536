// Command exchange is wayside's own exchange behind a bare listener of crypto/tls. It encodes the event of each response, but keeps no
// books. It lacks what package proxy adds to crypto/tls: certificates by name, the check of the first bytes, the limit of handshakes, time
// limits and alerts. In the benchmark over TLS, it shows what those cost. It is not meant for any other use.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	upstream := flag.String("upstream", "", "host:port to forward to")
	cert := flag.String("tls-cert", "", "certificate file")
	key := flag.String("tls-key", "", "key file")
	flag.Parse()
	if err := serve(*listen, *upstream, *cert, *key); err != nil {
		fmt.Fprintln(os.Stderr, "exchange:", err)
		os.Exit(1)
	}
}

func serve(listen, upstream, cert, key string) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	p, err := proxy.New(proxy.Options{
		Upstream: "http://" + upstream, Recorder: encoder{}, Driver: proxy.DriverGoroutine, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return p.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
}

// encoder encodes events as the spool does, and discards them.
type encoder struct{}

func (encoder) Record(e *event.Event) {
	var buf [event.SizeMax]byte
	e.Encode(buf[:])
}

func (encoder) Exclude() {}
