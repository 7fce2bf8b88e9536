package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// A request to the archive has no limit for its total duration: on a slow link, such a limit would make wayside send the same object
// again and again. Instead, wayside cancels a request that makes no progress for Options.RequestTimeout. Fewer than progressBytes in that
// time do not count as progress, so a server cannot delay a job by sending single bytes.
const progressBytes = 4 << 10

// slowestLink is the rate, in bytes per second, at which the kernel is assumed to send the rest of a body after it has accepted the last
// byte. The response cannot arrive before that.
const slowestLink = 32 << 10

// patienceMax limits the growth of the timeout. The timeout grows after requests that stalled, because the link may be slower than
// expected.
const patienceMax = 4

// errStalled is the cause of a context that was canceled because its request stalled.
var errStalled = errors.New("no progress")

// requests cancels those requests to targets that make no progress.
type requests struct {
	timeout  time.Duration
	patience atomic.Int32 // factor for the timeout; 0 counts as 1
}

// request is one request. Its methods are safe for concurrent use.
type request struct {
	ctx      context.Context // used for a single request
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	limit    time.Duration
	moved    atomic.Int64  // bytes transferred since the timer was last set
	patience *atomic.Int32 // points to requests.patience
}

// begin starts watching a request. The request must use the returned context, and the caller must call end.
func (r *requests) begin(ctx context.Context) (context.Context, *request) {
	q := &request{limit: r.timeout * time.Duration(max(r.patience.Load(), 1)), patience: &r.patience}
	q.ctx, q.cancel = context.WithCancelCause(ctx)
	q.timer = time.AfterFunc(q.limit, func() { q.cancel(errStalled) })
	return q.ctx, q
}

// stat calls [Target.Stat] with a watched request.
func (r *requests) stat(ctx context.Context, t Target, key string) (ObjectInfo, error) {
	ctx, q := r.begin(ctx)
	info, err := t.Stat(ctx, key)
	return info, q.end(err)
}

// progress records that n bytes have been transferred.
func (q *request) progress(n int) {
	if q.moved.Add(int64(n)) >= progressBytes {
		q.moved.Store(0)
		q.timer.Reset(q.limit)
	}
}

// sent records that the whole body has been handed to the kernel.
func (q *request) sent(size int64) {
	q.timer.Reset(q.limit + time.Duration(size)*time.Second/slowestLink)
}

// end stops watching. If the request ended because it stalled, the returned error says so.
func (q *request) end(err error) error {
	q.timer.Stop()
	stalled := errors.Is(context.Cause(q.ctx), errStalled)
	q.cancel(nil)
	if err == nil || !stalled {
		return err
	}
	q.patience.Store(min(2*max(q.patience.Load(), 1), patienceMax))
	// Only the text of err is included, because err wraps context.Canceled, from which callers would conclude that the
	// job was canceled.
	return fmt.Errorf("%w: no progress in %s: the server or the link hangs, or is slower than archive.timeout allows for: %s",
		context.DeadlineExceeded, q.limit, printable(err.Error(), remoteTextMax))
}

// watchedBody reports to a request the number of bytes of its body that have been read.
type watchedBody struct {
	io.ReadSeeker
	request  *request
	size, at int64
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadSeeker.Read(p)
	b.at += int64(n)
	b.request.progress(n)
	if b.at >= b.size {
		b.request.sent(b.size)
	}
	return n, err
}

func (b *watchedBody) Seek(offset int64, whence int) (int64, error) {
	at, err := b.ReadSeeker.Seek(offset, whence)
	b.at = at
	return at, err
}

// watchedReader reports to a request the number of bytes that have been read.
type watchedReader struct {
	io.Reader
	request *request
}

func (r watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.request.progress(n)
	return n, err
}
