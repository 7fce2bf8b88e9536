package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"
)

const (
	backoffMin = time.Millisecond
	backoffMax = 50 * time.Millisecond
)

// worker uses one connection at a time. The worker belongs to its goroutine until [Run] merges the reports.
type worker struct {
	run      *run
	report   Report
	conn     net.Conn // nil if not connected
	lastUse  time.Time
	deadline time.Time // the deadline set on conn
	request  Request
	response Response
	reader   responseReader
	out      []byte
}

func newWorker(r *run) *worker {
	return &worker{
		run:    r,
		report: Report{Failed: map[Kind]uint64{}, Statuses: map[int]uint64{}},
		reader: responseReader{buf: make([]byte, readBytes), bodyMax: r.BodyBytesMax},
	}
}

// drive sends requests until there are no more to send.
func (w *worker) drive(ctx context.Context) {
	defer w.disconnect()
	for {
		nonce, due, ok := w.run.take(ctx)
		if !ok {
			return
		}
		w.encode(nonce)
		if !w.send(ctx) {
			return
		}
		w.finish(nonce, due)
	}
}

// encode writes the request for the nonce to w.out.
func (w *worker) encode(nonce uint64) {
	r := &w.request
	*r = Request{Method: "GET", Path: r.Path[:0], Header: r.Header[:0], Body: r.Body[:0]}
	w.run.Request(nonce, r)
	out := append(w.out[:0], r.Method...)
	out = append(out, ' ')
	out = append(out, r.Path...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, w.run.Host...)
	out = append(out, "\r\n"...)
	out = append(out, r.Header...)
	if len(r.Body) > 0 || r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH" {
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, int64(len(r.Body)), 10)
		out = append(out, "\r\n"...)
	}
	out = append(out, "\r\n"...)
	w.out = append(out, r.Body...)
}

// send writes the request. If the kernel has not accepted any byte of the request, it counts as not sent, and send tries another
// connection. The result is false if the run has ended before the request was sent.
func (w *worker) send(ctx context.Context) bool {
	for {
		if !w.connect(ctx) {
			return false
		}
		w.lastUse = time.Now()
		w.extendDeadline()
		n, err := w.conn.Write(w.out)
		if err == nil {
			return true
		}
		w.disconnect()
		if n > 0 {
			w.fail(KindWrite, fmt.Errorf("write stopped after %d of %d bytes: %w", n, len(w.out), err))
			return true
		}
	}
}

// finish reads and checks the response of a request that was sent, and counts the outcome.
func (w *worker) finish(nonce uint64, due time.Time) {
	w.report.Sent++
	w.run.Counters.Sent.Add(1)
	if w.run.Sent != nil {
		w.run.Sent.Set(nonce)
	}
	if w.conn == nil {
		return // the request was written only in part and has already been counted as failed
	}
	if due.IsZero() {
		due = w.lastUse
	}
	err := w.reader.read(&w.response, w.request.Method == "HEAD")
	if err != nil {
		w.disconnect()
		w.unanswered(err)
		return
	}
	w.lastUse = time.Now()
	w.report.Latency.Add(w.lastUse.Sub(due))
	w.received(nonce)
	if w.reader.close {
		w.disconnect()
	} else if w.request.AbandonAfter > 0 {
		w.deadline = time.Time{} // the short deadline does not apply to the next request
	}
}

func (w *worker) unanswered(err error) {
	kind := kindOf(err, w.reader.begun)
	if kind == KindTimeout && w.request.AbandonAfter > 0 {
		w.report.Abandoned++
		w.run.Counters.Abandoned.Add(1)
		return
	}
	w.fail(kind, err)
}

func (w *worker) received(nonce uint64) {
	w.report.Received++
	w.report.Statuses[w.response.Status]++
	w.report.BodyBytes += uint64(w.response.BodyBytes)
	w.run.Counters.Received.Add(1)
	if w.run.Received != nil {
		w.run.Received.Set(nonce)
	}
	if err := w.run.Verify(nonce, &w.response); err != nil {
		w.fail(KindVerify, err)
		return
	}
	w.report.Completed++
	w.run.Counters.Completed.Add(1)
}

func (w *worker) fail(kind Kind, err error) {
	w.report.Failed[kind]++
	w.run.Counters.Failed.Add(1)
	if len(w.report.Errors) < errorsMax {
		w.report.Errors = append(w.report.Errors, fmt.Sprintf("%s: %s %.80s: %v", kind, w.request.Method, w.request.Path, err))
	}
}

// connect makes sure that there is a connection that is not stale. It returns false if the run has ended or has failed.
func (w *worker) connect(ctx context.Context) bool {
	if w.conn != nil && time.Since(w.lastUse) < w.run.IdleTimeout {
		return true
	}
	w.disconnect()
	began := time.Now()
	for wait := backoffMin; ; wait = min(2*wait, backoffMax) {
		conn, err := w.dial(ctx)
		if err == nil {
			w.report.Dials++
			w.conn, w.deadline = conn, time.Time{}
			w.reader.conn, w.reader.from, w.reader.to = conn, 0, 0
			return true
		}
		if end, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(end) { // the dialer may notice the deadline before ctx does
			return false
		}
		w.report.DialErrors++
		w.report.DialError = err
		if time.Since(began) > w.run.ConnectTimeout {
			w.run.giveUp(fmt.Errorf("%w to %s for %v: %w", ErrNoConnection, w.run.Address, w.run.ConnectTimeout, err))
			return false
		}
		if !sleep(ctx, wait) {
			return false
		}
	}
}

// dial makes a connection and, with TLS, performs the handshake, both within ConnectTimeout.
func (w *worker) dial(ctx context.Context) (net.Conn, error) {
	conn, err := w.run.Dialer.DialContext(ctx, "tcp", w.run.Address)
	if err != nil || w.run.TLS == nil {
		return conn, err
	}
	encrypted := tls.Client(conn, w.run.TLS)
	_ = conn.SetDeadline(time.Now().Add(w.run.ConnectTimeout)) // send sets the next deadline
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return encrypted, nil
}

func (w *worker) disconnect() {
	if w.conn == nil {
		return
	}
	_ = w.conn.Close() // an error does not matter
	w.conn = nil
}

// extendDeadline sets the deadline for a request and its response. Setting a deadline costs as much as parsing a response. So an ordinary
// deadline is set a second later than necessary, and is used again for requests that begin within that second.
func (w *worker) extendDeadline() {
	want := w.lastUse.Add(w.run.Timeout)
	switch {
	case w.request.AbandonAfter > 0:
		want = w.lastUse.Add(w.request.AbandonAfter)
	case w.deadline.Before(want):
		want = want.Add(time.Second)
	default:
		return
	}
	w.deadline = want
	_ = w.conn.SetDeadline(want) // fails only on a closed connection, which is then reported by the write
}
