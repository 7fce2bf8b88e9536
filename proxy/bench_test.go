package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/internal/event"
)

// encoder is a Recorder that encodes into its own buffer, as the spool does on the hot path.
type encoder struct{ n atomic.Int64 }

func (r *encoder) Record(e *event.Event) {
	var buf [event.SizeMax]byte
	e.Encode(buf[:])
	r.n.Add(1)
}

func (r *encoder) Exclude() {}

// BenchmarkForward compares wayside's proxy with a bare forwarder built on the same library, in front of the same origin. Compare cpu-us/op: user
// and system time of the whole process, including origin and client, which are the same for both.
func BenchmarkForward(b *testing.B) {
	originLn := listen(b)
	body := bytes.Repeat([]byte("x"), 256)
	go func() {
		_ = (&fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.Set("Cache-Control", "no-cache")
			ctx.Response.Header.Set("ETag", `"abc"`)
			ctx.Response.SetBodyRaw(body)
		}}).Serve(originLn)
	}()
	b.Run("direct", func(b *testing.B) { load(b, originLn.Addr().String()) })
	b.Run("bare", func(b *testing.B) {
		ln := listen(b)
		upstream := &fasthttp.HostClient{
			Addr: originLn.Addr().String(), MaxConns: 512, NoDefaultUserAgentHeader: true,
			DisablePathNormalizing: true, DisableHeaderNamesNormalizing: true,
		}
		go func() {
			_ = (&fasthttp.Server{NoDefaultServerHeader: true, NoDefaultDate: true, Handler: func(ctx *fasthttp.RequestCtx) {
				ctx.Request.Header.Del("Connection")
				if err := upstream.Do(&ctx.Request, &ctx.Response); err != nil {
					ctx.Error("", 502)
				}
				ctx.Response.Header.Del("Connection")
			}}).Serve(ln)
		}()
		load(b, ln.Addr().String())
	})
	b.Run("wayside", func(b *testing.B) {
		ln := listen(b)
		p, err := New(Options{Upstream: "http://" + originLn.Addr().String(), Recorder: &encoder{}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		go func() { _ = p.Serve(ln) }()
		load(b, ln.Addr().String())
	})
}

func listen(b *testing.B) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ln.Close() })
	return ln
}

// load sends b.N requests over 64 keep-alive connections, with a client that uses hardly any CPU time itself.
func load(b *testing.B, addr string) {
	const conns = 64
	request := []byte("GET /users/42?x=1 HTTP/1.1\r\nHost: app.example\r\nUser-Agent: bench/1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: a=b; c=d\r\n\r\n")
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, conns)
	ready := make(chan struct{})
	for range conns {
		go func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				done <- err
				return
			}
			defer func() { _ = conn.Close() }()
			<-ready
			done <- requests(conn, request, &left)
		}()
	}
	before := cpuTime()
	b.ReportAllocs()
	b.ResetTimer()
	close(ready)
	for range conns {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func requests(conn net.Conn, request []byte, left *atomic.Int64) error {
	buf := make([]byte, 8192)
	for left.Add(-1) >= 0 {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		n := 0
		for {
			m, err := conn.Read(buf[n:])
			if err != nil {
				return err
			}
			n += m
			if i := bytes.Index(buf[:n], []byte("\r\n\r\n")); i >= 0 && n >= i+4+256 {
				break
			}
		}
		if !strings.HasPrefix(string(buf[9:12]), "200") {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
