package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/internal/connlimit"
	"github.com/wayside-proxy/wayside/internal/query"
)

// errBusy is the response to a request if too many are already in progress.
var errBusy = errors.New("too many such requests are in progress; try again")

// takeOver calls work, which must send the response on the connection of the request, and then closes the connection. ctx ends when the
// client disconnects or the listener is closed. slots limits the number of requests whose work is in progress; if all slots are taken,
// the response is 503.
func (q *request) takeOver(slots chan struct{}, work func(ctx context.Context, conn net.Conn)) {
	if c, ok := q.ctx.Conn().(*connlimit.Conn); ok {
		c.Hold()
	}
	q.ctx.HijackSetNoResponse(true)
	log, running, head := q.s.opt.Logger, q.running, q.ctx.IsHead()
	q.ctx.Hijack(func(conn net.Conn) {
		defer func() {
			if fault := recover(); fault != nil { // otherwise the process would end
				log.Error("panic while handling a request to the admin listener", "panic", fault)
			}
		}()
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			send(conn, head, func(resp *fasthttp.Response) {
				resp.Header.Set("Retry-After", "1")
				refuse(resp, fasthttp.StatusServiceUnavailable, errBusy.Error())
			})
			return
		}
		ctx, cancel := context.WithCancelCause(running)
		defer cancel(nil)
		defer watch(conn, cancel)()
		work(ctx, conn)
	})
}

// Reasons why the context of a request can end before its response is complete.
var (
	errClientLeft = errors.New("the client disconnected")
	errClientDone = errors.New("the client closed its end, and may have disconnected") // closing one direction looks like closing both
)

// watchBytesMax is the maximum number of bytes that are read from a client while its response is in progress.
const watchBytesMax = 64 << 10

// watch calls left when the client closes its connection, until end is called.
func watch(conn net.Conn, left context.CancelCauseFunc) (end func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for n := 0; n < watchBytesMax; {
			got, err := conn.Read(buf)
			n += got
			if errors.Is(err, io.EOF) {
				left(errClientDone)
				return
			}
			if err != nil {
				left(errClientLeft)
				return
			}
		}
	}()
	return func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		<-done
	}
}

// send sends the response on a connection that has been taken over.
func send(conn net.Conn, head bool, fill func(*fasthttp.Response)) {
	var resp fasthttp.Response
	protect(&resp)
	fill(&resp)
	resp.SkipBody = head
	resp.SetConnectionClose()
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	out := bufio.NewWriterSize(conn, 4<<10)
	if resp.Write(out) == nil {
		_ = out.Flush() // fails only if the client has disconnected
	}
}

// inTime responds with the result of find, which may take time. The ctx of find ends when the client disconnects.
func (q *request) inTime(find func(ctx context.Context) (any, error)) {
	head := q.ctx.IsHead()
	q.takeOver(q.s.work, func(ctx context.Context, conn net.Conn) {
		v, err := find(ctx)
		send(conn, head, func(resp *fasthttp.Response) {
			var refused *BooksError
			switch {
			case err == nil:
				answerJSON(resp, fasthttp.StatusOK, v)
			case errors.As(err, &refused):
				refuse(resp, refused.Status, refused.Reason)
			default:
				refuse(resp, fasthttp.StatusServiceUnavailable, err.Error())
			}
		})
	})
}

func (q *request) upstreams() { answerJSON(&q.ctx.Response, fasthttp.StatusOK, q.s.opt.Upstreams()) }

func (q *request) accounting() { q.inTime(q.s.opt.Accounting) }

// errVerifying is the response to a request for a verification while another one is running.
var errVerifying = &BooksError{Status: fasthttp.StatusConflict, Reason: "a verification is already running; try again when it has ended"}

func (q *request) verify() {
	values, err := query.Parse(q.query, "local")
	local, bad := values.Flag("local")
	if err = errors.Join(err, bad); err != nil {
		refuse(&q.ctx.Response, fasthttp.StatusBadRequest, err.Error())
		return
	}
	s := q.s
	q.inTime(func(ctx context.Context) (any, error) {
		if !s.verifying.CompareAndSwap(false, true) {
			return nil, errVerifying
		}
		defer s.verifying.Store(false)
		return s.opt.Verify(ctx, local)
	})
}

func (q *request) reload() {
	s := q.s
	q.inTime(func(context.Context) (any, error) {
		changed, err := s.opt.Reload()
		if err != nil {
			return nil, &BooksError{Status: fasthttp.StatusUnprocessableEntity, Reason: err.Error()}
		}
		return changed, nil
	})
}

func (q *request) forget() {
	s := q.s
	body := append([]byte(nil), q.ctx.Request.Body()...) // fasthttp reuses the request
	q.inTime(func(ctx context.Context) (any, error) { return s.opt.Forget(ctx, body) })
}

func (q *request) backup() {
	s := q.s
	body := append([]byte(nil), q.ctx.Request.Body()...) // fasthttp reuses the request
	q.inTime(func(ctx context.Context) (any, error) { return s.opt.Backup(ctx, body) })
}
