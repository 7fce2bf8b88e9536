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

// errBusy answers what cannot be taken on besides all that is under way.
var errBusy = errors.New("too many such requests are being answered at this moment; try again")

// takeOver has work answer the request on its connection, which is closed afterwards. ctx ends when the client leaves, or the
// listener. places bounds how many do so at a time; there is no waiting for a place.
func (q *request) takeOver(places chan struct{}, work func(ctx context.Context, conn net.Conn)) {
	if c, ok := q.ctx.Conn().(*connlimit.Conn); ok {
		c.Hold()
	}
	q.ctx.HijackSetNoResponse(true)
	log, running, head := q.s.opt.Logger, q.running, q.ctx.IsHead()
	q.ctx.Hijack(func(conn net.Conn) {
		defer func() {
			if fault := recover(); fault != nil { // the server would end the process
				log.Error("answer a request to the admin endpoint", "panic", fault)
			}
		}()
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
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

// Why a request's context ends before its answer.
var (
	errClientLeft = errors.New("the client left")
	errClientDone = errors.New("the client closed its end, and may have left") // which looks the same
)

// watchBytesMax is what a client may send while it is being answered; after that nothing is read from it.
const watchBytesMax = 64 << 10

// watch calls left when the client closes its connection. end ends that.
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

// send sends one last answer.
func send(conn net.Conn, head bool, fill func(*fasthttp.Response)) {
	var resp fasthttp.Response
	protect(&resp)
	fill(&resp)
	resp.SkipBody = head
	resp.SetConnectionClose()
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	out := bufio.NewWriterSize(conn, 4<<10)
	if resp.Write(out) == nil {
		_ = out.Flush() // a client that left is its own affair
	}
}

// inTime answers with what takes time to find out, and is given up when the client leaves.
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

func (q *request) accounting() { q.inTime(q.s.opt.Accounting) }

// errVerifying is the answer to who asks for a verification while there is one.
var errVerifying = &BooksError{Status: fasthttp.StatusConflict, Reason: "a verification is under way already; ask again when it has ended"}

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
	body := append([]byte(nil), q.ctx.Request.Body()...) // the request is gone by then
	q.inTime(func(ctx context.Context) (any, error) { return s.opt.Forget(ctx, body) })
}
