package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
)

const (
	originBody = "ok, said the origin\n"
	largeBytes = 64 << 20
	pageBytes  = 100 << 10
	sendBytes  = 64 << 10 // the kernel doubles this value
)

// serveOrigin runs in a separate process. It prints its address and serves until its standard input is closed.
func serveOrigin() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	page := make([]byte, pageBytes)
	mux := http.NewServeMux()
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(largeBytes))
		for sent := 0; sent < largeBytes; sent += pageBytes {
			if _, err := w.Write(page[:min(pageBytes, largeBytes-sent)]); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	mux.HandleFunc("/upgrade", upgrade)
	mux.HandleFunc("/socket", socket)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, originBody)
	})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println(ln.Addr())
	server := &http.Server{Handler: mux}
	return server.Serve(smallBuffers{ln})
}

// smallBuffers gives the origin's connections the send buffer that they would initially have over a network. On loopback, where a segment
// has 64 KiB, the kernel uses send buffers of three megabytes. If these buffers were filled for every client that does not read, filling
// them would be most of the measured work.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetWriteBuffer(sendBytes)
	}
	return conn, err
}

// upgrade switches to another protocol and sends nothing until the other side disconnects.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	conn, err := switchProtocols(w, "")
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.Copy(io.Discard, conn)
}

// switchProtocols responds with 101 and more field lines, and returns the connection.
func switchProtocols(w http.ResponseWriter, fields string) (net.Conn, error) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+fields+"\r\n")
	return conn, nil
}
