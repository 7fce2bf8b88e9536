// Command exchange is wayside's own exchange and spool behind a bare listener of crypto/tls, without a books process. It lacks everything
// that package proxy adds to crypto/tls: certificates by name, the check of the first bytes, the limit of handshakes, time limits and
// alerts. In the benchmark over TLS, it shows the cost of these additions. It is not meant for any other use.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/spool"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	upstream := flag.String("upstream", "", "host:port to forward to")
	cert := flag.String("tls-cert", "", "certificate file")
	key := flag.String("tls-key", "", "key file")
	dir := flag.String("dir", "", "directory of the spool")
	flag.Parse()
	if err := serve(*listen, *upstream, *cert, *key, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "exchange:", err)
		os.Exit(1)
	}
}

func serve(listen, upstream, cert, key, dir string) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	events, err := spool.Open(spool.Options{Dir: dir})
	if err != nil {
		return err
	}
	p, err := proxy.New(proxy.Options{
		Upstream: "http://" + upstream, Recorder: events, Driver: proxy.DriverGoroutine, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- events.Run(context.Background()) }()
	go func() {
		failed <- p.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
	}()
	return <-failed
}
