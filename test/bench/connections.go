package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wayside-proxy/wayside/test/procfs"
)

const (
	openTimeout   = 20 * time.Second // timeout for one connection and its request
	openParallel  = 64               // connections that are opened at the same time
	openAddresses = 250              // number of client addresses, because wayside limits the share of one address
)

// connectionsFigures holds the memory use of a traffic process with idle client connections.
type connectionsFigures struct {
	Contestant  string `json:"contestant"`
	Connections int    `json:"connections"`
	Before      uint64 `json:"pss_bytes_before"`
	With        uint64 `json:"pss_bytes_with"`
}

// each returns the memory per connection in bytes.
func (c connectionsFigures) each() float64 {
	return (float64(c.With) - float64(c.Before)) / float64(c.Connections)
}

// measureConnections opens connections and sends one request over each. It reads the memory use of the traffic process before and after.
// At the end, it sends a second request over each connection, to show that all of them have stayed open.
func (f *setup) measureConnections(ctx context.Context, c *contestant) (r connectionsFigures, err error) {
	r = connectionsFigures{Contestant: c.name, Connections: f.idleConns}
	pid := c.process.cmd.Process.Pid
	if r.Before, _, err = procfs.PSS(pid); err != nil {
		return r, err
	}
	conns, err := openConnections(ctx, c.address, f.idleConns)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close() // the result does not matter
			}
		}
	}()
	if err != nil {
		return r, err
	}
	if err := pause(ctx, restTime); err != nil {
		return r, err
	}
	if r.With, _, err = procfs.PSS(pid); err != nil {
		return r, err
	}
	return r, askAll(ctx, conns)
}

// openConnections opens n connections and sends one request over each. The caller must close them, even after an error; the elements for
// connections that were not opened are nil.
func openConnections(ctx context.Context, address string, n int) ([]net.Conn, error) {
	conns := make([]net.Conn, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(openParallel)
	for i := range conns {
		group.Go(func() (err error) {
			from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%openAddresses))}
			dialer := net.Dialer{LocalAddr: from, Timeout: openTimeout, KeepAlive: -1}
			if conns[i], err = dialer.DialContext(ctx, "tcp", address); err != nil {
				return err
			}
			return ask(conns[i])
		})
	}
	return conns, group.Wait()
}

// askAll sends a request over each connection.
func askAll(ctx context.Context, conns []net.Conn) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(openParallel)
	for _, conn := range conns {
		group.Go(func() error { return errors.Join(ctx.Err(), ask(conn)) })
	}
	return group.Wait()
}

// ask sends one request over a connection that stays open.
func ask(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(openTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET /idle HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || string(body) != originBody || response.Close) {
		err = fmt.Errorf("status %d, a body of %d bytes, close: %v", response.StatusCode, len(body), response.Close)
	}
	return err
}

// raiseDescriptorLimit allows this process and its children to have n open files. If this process did not set the limit explicitly, Go
// would restore the original limit for children.
func raiseDescriptorLimit(n uint64) error {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err == nil {
		limit.Cur, limit.Max = max(limit.Cur, n), max(limit.Max, n)
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	if err != nil {
		return fmt.Errorf("allow %d open files: %w; run as root, or raise the limit (ulimit -Hn)", n, err)
	}
	return nil
}
