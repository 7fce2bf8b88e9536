package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// A request to the archive may take as long as it takes: on a slow link a limit on the whole of it would send the same object again
// and again for ever. What ends it is silence, Options.RequestTimeout long. Progress that is slower than progressBytes in that
// time is silence too, so that nobody can hold a job with a byte now and then.
const progressBytes = 4 << 10

// slowestLink is the rate in bytes a second at which a body is believed to be still on its way after the kernel has taken the
// last of it. Only then may the answer come.
const slowestLink = 32 << 10

// patienceMax bounds by how much the limit grows after requests that fell silent: a link may be slower than all that was thought of.
const patienceMax = 4

// errSilent is the cause of a context that a silence has ended.
var errSilent = errors.New("no progress")

// silence watches one request. Its methods may be called from several goroutines.
type silence struct {
	ctx      context.Context //nolint:containedctx // lives for one request
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	limit    time.Duration
	moved    atomic.Int64  // bytes since the timer was last set
	patience *atomic.Int32 // the uploader's
}

// attend begins to watch a request, which must use the context returned; end ends it.
func (u *Uploader) attend(ctx context.Context) (context.Context, *silence) {
	s := &silence{limit: u.o.RequestTimeout * time.Duration(max(u.patience.Load(), 1)), patience: &u.patience}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.timer = time.AfterFunc(s.limit, func() { s.cancel(errSilent) })
	return s.ctx, s
}

// progress notes that n bytes moved.
func (s *silence) progress(n int) {
	if s.moved.Add(int64(n)) >= progressBytes {
		s.moved.Store(0)
		s.timer.Reset(s.limit)
	}
}

// sent notes that all of a body was handed to the kernel.
func (s *silence) sent(size int64) {
	s.timer.Reset(s.limit + time.Duration(size)*time.Second/slowestLink)
}

// end stops watching, and says if silence is what ended the request.
func (s *silence) end(err error) error {
	s.timer.Stop()
	silent := errors.Is(context.Cause(s.ctx), errSilent)
	s.cancel(nil)
	if err == nil || !silent {
		return err
	}
	s.patience.Store(min(2*max(s.patience.Load(), 1), patienceMax))
	// Not the error itself: it says that the request was cancelled, which would be somebody's wish.
	return fmt.Errorf("%w: no progress in %s: the server or the link hangs, or is slower than archive.timeout allows for: %s",
		context.DeadlineExceeded, s.limit, printable(err.Error(), remoteTextMax))
}

// watchedBody tells a silence what is read of a body that is being sent.
type watchedBody struct {
	io.ReadSeeker
	s        *silence
	size, at int64
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadSeeker.Read(p)
	b.at += int64(n)
	b.s.progress(n)
	if b.at >= b.size {
		b.s.sent(b.size)
	}
	return n, err
}

func (b *watchedBody) Seek(offset int64, whence int) (int64, error) {
	at, err := b.ReadSeeker.Seek(offset, whence)
	b.at = at
	return at, err
}

// watchedReader tells a silence what is read.
type watchedReader struct {
	io.Reader
	s *silence
}

func (r watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.s.progress(n)
	return n, err
}
