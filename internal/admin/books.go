package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/link"
)

// ErrBooksAway is returned while no books process is connected.
var ErrBooksAway = errors.New("the books process is unavailable; traffic is still served")

// away returns ErrBooksAway, with the text of Options.Meanwhile.
func (s *Server) away() error {
	if s.opt.Meanwhile == nil {
		return ErrBooksAway
	}
	return fmt.Errorf("%w, and %s", ErrBooksAway, s.opt.Meanwhile())
}

// ErrBooksSilent is returned if a books process is connected but does not even respond to a ping.
var ErrBooksSilent = errors.New("the books process does not respond: it is hanging, was stopped, or is still opening its store")

// PathPing is requested to find out whether the books process responds at all. Any response is sufficient.
const PathPing = InternalPrefix + "ping"

const (
	// pingWait is the maximum time to wait for the response to a ping.
	pingWait = 5 * time.Second
	// answerWait is the maximum time to wait for the first byte of a relayed response. A limit is needed because the kernel accepts
	// connections even if the books process hangs or has been stopped. Even a query over a year takes less than a second.
	answerWait = time.Minute
	// questionsMax is the number of connections for this process's own requests. Further requests wait.
	questionsMax = link.ConnsMax - relaysMax
)

// booksPeer is the connected books process, if there is one.
type booksPeer struct {
	answer, ping time.Duration // answerWait and pingWait; shorter in tests
	peer         atomic.Pointer[peer]
}

// peer is a books process that is connected.
type peer struct {
	dialer *link.Dialer
	client *http.Transport // connections for this process's own requests
	wait   time.Duration   // maximum time to wait for the response to a ping

	silent atomic.Pointer[time.Time] // when the first unanswered ping was sent; nil if the last one was answered

	mu      sync.Mutex
	pinging *ping // the ping in progress; guarded by mu
}

// ping is one ping. err is valid when done is closed.
type ping struct {
	done chan struct{}
	err  error
}

// SetBooks sets the connection to the books process to which requests are relayed; nil means that it is unavailable.
func (s *Server) SetBooks(dialer *link.Dialer) {
	var next *peer
	if dialer != nil {
		next = &peer{dialer: dialer, wait: s.books.ping, client: &http.Transport{
			DialContext: dialer.DialContext, MaxConnsPerHost: questionsMax, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, DisableCompression: true,
		}}
	}
	if old := s.books.peer.Swap(next); old != nil {
		old.client.CloseIdleConnections()
	}
}

// startPing returns the ping in progress, or starts one.
func (p *peer) startPing() *ping {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pinging == nil {
		p.pinging = &ping{done: make(chan struct{})}
		go p.run(p.pinging)
	}
	return p.pinging
}

// run sends a ping and updates silent. If there is no response, the error is ErrBooksSilent.
func (p *peer) run(c *ping) {
	asked := time.Now()
	c.err = p.sendPing()
	switch {
	case c.err == nil:
		p.silent.Store(nil)
	case errors.Is(c.err, os.ErrDeadlineExceeded), errors.Is(c.err, context.DeadlineExceeded), errors.Is(c.err, link.ErrBusy):
		p.silent.CompareAndSwap(nil, &asked)
		c.err = ErrBooksSilent
	}
	p.mu.Lock()
	p.pinging = nil
	p.mu.Unlock()
	close(c.done)
}

// sendPing sends a ping over a new connection, because the client's connections may all be in use.
func (p *peer) sendPing() error {
	end := time.Now().Add(p.wait)
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	conn, err := p.dialer.Dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(end)
	if _, err = io.WriteString(conn, "GET "+PathPing+" HTTP/1.1\r\nHost: books\r\nConnection: close\r\n\r\n"); err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	return err
}

// answers sends a ping, or joins the one in progress, and waits for its result.
func (p *peer) answers(ctx context.Context) error {
	c := p.startPing()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PingBooks pings the books process and waits for at most five seconds. Later calls to BooksSilent return the result. The error is
// ErrBooksAway if no books process is connected, and ErrBooksSilent if it does not respond.
func (s *Server) PingBooks(ctx context.Context) error {
	p := s.books.peer.Load()
	if p == nil {
		return s.away()
	}
	return p.answers(ctx)
}

// BooksSilent returns the time since which the connected books process has not responded to pings. ok is false if it responded to the
// last ping, or if no books process is connected. BooksSilent does not send a ping itself.
func (s *Server) BooksSilent() (since time.Time, ok bool) {
	if p := s.books.peer.Load(); p != nil {
		if at := p.silent.Load(); at != nil {
			return *at, true
		}
	}
	return time.Time{}, false
}

// AskBooks sends a request to the books process and returns the body of a 2xx response. While no books process is connected, the error
// wraps ErrBooksAway. If ctx has no deadline, AskBooks first sends a ping; if there is no response to it, the error is ErrBooksSilent.
func (s *Server) AskBooks(ctx context.Context, method, path string) ([]byte, error) {
	return s.askBooks(ctx, method, path, http.NoBody)
}

// PostBooks is like AskBooks, for a POST request with a body.
func (s *Server) PostBooks(ctx context.Context, path string, body []byte) ([]byte, error) {
	return s.askBooks(ctx, http.MethodPost, path, bytes.NewReader(body))
}

func (s *Server) askBooks(ctx context.Context, method, path string, send io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://books"+path, send)
	if err != nil {
		return nil, err
	}
	p := s.books.peer.Load()
	if p == nil {
		return nil, s.away()
	}
	if _, bounded := ctx.Deadline(); !bounded {
		if err := p.answers(ctx); err != nil {
			return nil, err
		}
	}
	resp, err := p.client.RoundTrip(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("the books process does not respond: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return body, &BooksError{Status: resp.StatusCode, Reason: reasonOf(resp.Status, body)}
	}
	return body, nil
}

// answerBytesMax limits the size of a response that AskBooks reads into memory.
const answerBytesMax = 4 << 20

// BooksError describes a response other than 2xx, usually from the books process.
type BooksError struct {
	Status int    // HTTP status
	Reason string // the error in the response, without the JSON around it
}

func (e *BooksError) Error() string { return e.Reason }

// reasonOf returns the error in a response, or its status if there is none.
func reasonOf(status string, body []byte) string {
	var refusal struct{ Error string }
	if json.Unmarshal(body, &refusal) == nil && refusal.Error != "" {
		return refusal.Error
	}
	return status
}
