package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"
)

const (
	mib             = 1 << 20
	transferGrowth  = 8 * mib
	declarers       = 1000 // connections that declare a body
	declarersGrowth = 16 * mib
	declareHold     = 5 * time.Second
)

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// memory proves that neither a large body nor the declaration of a large body takes up memory.
func memory(ctx context.Context, r *rig, size int64) (string, error) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			n, err := io.Copy(io.Discard, req.Body)
			_, _ = fmt.Fprintf(w, "%d %v", n, err)
			return
		}
		if req.URL.Path == "/big" {
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
			_, _ = io.CopyN(w, zeros{}, size)
		}
	}))
	defer origin.Close()
	if err := r.start(ctx, origin.URL); err != nil {
		return "", err
	}
	base := "http://" + r.wayside.Listen
	for range 200 { // the first requests always make the process allocate memory
		if err := transfer(http.MethodGet, base+"/", 0); err != nil {
			return "", err
		}
	}
	var errs []error
	pid := r.wayside.PID()
	grown := func(name string, limit int64, do func() error) int64 {
		before, err := residentBytes(pid)
		if err != nil {
			errs = append(errs, err)
		}
		stop := peak(pid)
		if err := do(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		growth := stop() - before
		if growth > limit {
			errs = append(errs, fmt.Errorf("%s: memory grew by %d KiB, the limit is %d KiB", name, growth>>10, limit>>10))
		}
		return growth
	}
	down := grown("download", transferGrowth, func() error { return transfer(http.MethodGet, base+"/big", size) })
	up := grown("upload", transferGrowth, func() error { return transfer(http.MethodPost, base+"/up", size) })
	chunked := grown("chunked upload", transferGrowth, func() error { return transfer(http.MethodPost, base+"/up", -size) })
	held := grown("declared bodies", declarersGrowth, func() error { return declare(r.wayside.Listen) })
	return fmt.Sprintf("%d MiB: memory +%.1f MiB down, +%.1f MiB up, +%.1f MiB up chunked; %d connections that declare 4 MiB and send nothing: +%.1f MiB",
		size/mib, float64(down)/mib, float64(up)/mib, float64(chunked)/mib, declarers, float64(held)/mib), errors.Join(errs...)
}

// transfer downloads or uploads size bytes. If size is negative, it uploads -size bytes with chunked coding.
func transfer(method, url string, size int64) error {
	n := max(size, -size)
	var body io.Reader
	if method == http.MethodPost {
		body = io.LimitReader(zeros{}, n)
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	if method == http.MethodPost {
		req.ContentLength = size // a negative length means unknown
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if method == http.MethodPost {
		text, err := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("%d <nil>", n); err == nil && string(text) != want {
			err = fmt.Errorf("the origin received %q, want %q", text, want)
		}
		return err
	}
	got, err := io.Copy(io.Discard, resp.Body)
	if err == nil && got != n {
		err = fmt.Errorf("%d bytes, want %d", got, n)
	}
	return err
}

// declare opens connections, sends requests that declare a body that never arrives, and keeps the connections open.
func declare(addr string) error {
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	for range declarers {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		if _, err := io.WriteString(conn, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n"); err != nil {
			return err
		}
	}
	time.Sleep(declareHold)
	return nil
}
