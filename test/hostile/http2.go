package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/test/h2attack"
)

const (
	http2Rate = 20 // hostile HTTP/2 connections per second
	http2Most = 64 // maximum number of them at the same time
	http2From = 16 // number of source addresses
	http2Stay = 5 * time.Second
	// http2Ends is the time that wayside may take to end a connection because of its frames. It includes the time for writing the frames.
	http2Ends = 30 * time.Second
	// http2Step mixes floods with single frames, which are separate in the corpus. It has no factor in common with the size of the
	// corpus.
	http2Step = 29
	// socketCheck is the interval at which the origin checks whether the other side of a WebSocket has disconnected.
	socketCheck = 200 * time.Millisecond
)

// http2Attacks repeats the hostile HTTP/2 connections of the corpus at a constant rate.
func http2Attacks(ctx context.Context, a *attacker) {
	list := h2attack.All()
	repeat(ctx, http2Rate, http2Most, func(i int) { a.http2Attack(ctx, list[i*http2Step%len(list)], i) })
}

// http2Attack runs one attack. It disconnects after http2Stay if only a time limit of wayside would end the connection.
func (a *attacker) http2Attack(ctx context.Context, attack h2attack.Attack, i int) {
	conn, err := a.dial(ctx, a.Traffic, a.address(i, http2From), attack.Unread)
	if err != nil {
		return
	}
	a.held.Add(1)
	defer a.held.Add(-1)
	defer func() { _ = conn.Close() }()
	stay := http2Ends
	if attack.Held {
		stay = http2Stay
	}
	_ = conn.SetDeadline(time.Now().Add(stay))
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if attack.Unread {
		attack.Write(conn)
		sleep(ctx, stay)
		return
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		_ = conn.SetWriteDeadline(time.Unix(1, 0)) // write nothing more: it would take CPU time without attacking anything
		ended <- err
	}()
	attack.Write(conn)
	switch err := <-ended; {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		a.closed.Add(1)
	case !attack.Held && !attack.Requests && ctx.Err() == nil:
		a.unended.Add(1)
		fmt.Fprintf(os.Stderr, "still open after %v: %s, %s\n", http2Ends, attack.Name, conn.LocalAddr())
	}
}

// socket accepts a WebSocket, and neither reads nor sends anything until the other side disconnects.
func socket(w http.ResponseWriter, r *http.Request) {
	key := []byte(r.Header.Get("Sec-WebSocket-Key"))
	conn, err := switchProtocols(w, "Sec-WebSocket-Accept: "+string(http1.AppendWebSocketAccept(nil, key))+"\r\n")
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	tcp, ok := conn.(*net.TCPConn)
	for ok && !hungUp(tcp) {
		time.Sleep(socketCheck)
	}
}
