package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// PathThere is what the books process is asked to see whether it answers at all. Any answer will do.
const PathThere = InternalPrefix + "there"

// thereWait is how long the answer to that may take.
const thereWait = 5 * time.Second

// peer is a books process.
type peer struct {
	reads *http.Transport // for what people read, which waits for answerWait at most
	jobs  *http.Transport // for what may take as long as it takes, and what has a limit of its own
	wait  time.Duration   // for the answer to PathThere

	silent atomic.Pointer[time.Time] // when the first question was asked that it left unanswered; nil: it answers, or was not asked
}

// askThere asks whether the books process answers, and remembers it. The error is ErrBooksSilent if it does not.
func (p *peer) askThere(ctx context.Context) error {
	asked := time.Now()
	bounded, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	req, err := http.NewRequestWithContext(bounded, http.MethodGet, "http://collect"+PathThere, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := p.jobs.RoundTrip(req)
	if err == nil {
		p.silent.Store(nil)
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
		return errors.Join(err, resp.Body.Close())
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		p.silent.CompareAndSwap(nil, &asked)
		return ErrBooksSilent
	}
	return err
}

// BooksThere asks the books process whether it answers, for five seconds at most, and remembers that for BooksSilent. The
// error is ErrBooksAway while none is connected, ErrBooksSilent if one is and does not answer.
func (s *Server) BooksThere(ctx context.Context) error {
	p := s.relay.peer.Load()
	if p == nil {
		return ErrBooksAway
	}
	return p.askThere(ctx)
}

// BooksSilent returns since when the books process that is connected has left questions unanswered; ok is false if the last one
// was answered, or none is connected. It asks nothing.
func (s *Server) BooksSilent() (since time.Time, ok bool) {
	if p := s.relay.peer.Load(); p != nil {
		if at := p.silent.Load(); at != nil {
			return *at, true
		}
	}
	return time.Time{}, false
}
