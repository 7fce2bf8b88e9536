package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/link"
)

// ErrBooksAway is returned while no books process is connected.
var ErrBooksAway = errors.New("the books process is away; traffic is served, and what is recorded waits in the spool")

// ErrBooksSilent is returned where a books process is connected and leaves even a short question unanswered.
var ErrBooksSilent = errors.New("the books process does not answer: it hangs, was stopped, or is still opening its store")

// relay passes requests on to the books process over connections that a link.Dialer makes.
type relay struct {
	proxy *httputil.ReverseProxy
	wait  time.Duration        // answerWait, less in tests
	there time.Duration        // thereWait, less in tests
	peer  atomic.Pointer[peer] // nil while the books process is away
}

// answerWait is how long a relayed question may wait for the answer's header. A books process that hangs or was stopped takes
// connections and says nothing; a query over a year takes less than a second.
const answerWait = time.Minute

func newRelay(log *slog.Logger) *relay {
	r := &relay{wait: answerWait, there: thereWait}
	r.proxy = &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(&url.URL{Scheme: "http", Host: "collect"})
			pr.Out.Header.Del("Authorization") // the token has done its work
		},
		ModifyResponse: func(resp *http.Response) error {
			for _, name := range guardFields {
				resp.Header.Del(name) // the guard has set it already
			}
			return nil
		},
		Transport:     r,
		FlushInterval: -1, // live updates must not wait in a buffer
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			log.Debug("relay to the books process", "error", err)
			w.Header().Set("Retry-After", "1")
			reason := err.Error()
			if !errors.Is(err, ErrBooksAway) && !errors.Is(err, ErrBooksSilent) {
				reason = "the books process does not answer: " + reason
			}
			writeError(w, http.StatusServiceUnavailable, reason)
		},
	}
	return r
}

// RoundTrip passes a request on to the present books process. What may take long, and what is asked of one that was silent
// lately, goes only to one that answers a short question first.
func (r *relay) RoundTrip(req *http.Request) (*http.Response, error) {
	p := r.peer.Load()
	if p == nil {
		return nil, ErrBooksAway
	}
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	if !reads || p.silent.Load() != nil {
		if err := p.askThere(req.Context()); err != nil {
			return nil, err
		}
	}
	if reads {
		return p.reads.RoundTrip(req)
	}
	return p.jobs.RoundTrip(req)
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.proxy.ServeHTTP(w, req) }

// SetBooks makes dialer's peer the books process that requests are relayed to; nil means it is away.
func (s *Server) SetBooks(dialer *link.Dialer) {
	var next *peer
	if dialer != nil {
		transport := func(wait time.Duration) *http.Transport {
			return &http.Transport{
				DialContext: dialer.DialContext, MaxIdleConns: 8, IdleConnTimeout: time.Minute, DisableCompression: true, ResponseHeaderTimeout: wait,
			}
		}
		next = &peer{reads: transport(s.relay.wait), jobs: transport(0), wait: s.relay.there}
	}
	if old := s.relay.peer.Swap(next); old != nil {
		old.reads.CloseIdleConnections()
		old.jobs.CloseIdleConnections()
	}
}

// AskBooks sends a request to the books process and returns the body of a 2xx answer. The error wraps ErrBooksAway while
// it is away, and ErrBooksSilent where ctx has no deadline and it does not answer a short question first.
func (s *Server) AskBooks(ctx context.Context, method, path string) ([]byte, error) {
	return s.askBooks(ctx, method, path, http.NoBody)
}

// TellBooks is AskBooks with a POST request that has a body.
func (s *Server) TellBooks(ctx context.Context, path string, body []byte) ([]byte, error) {
	return s.askBooks(ctx, http.MethodPost, path, bytes.NewReader(body))
}

func (s *Server) askBooks(ctx context.Context, method, path string, send io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://collect"+path, send)
	if err != nil {
		return nil, err
	}
	p := s.relay.peer.Load()
	if p == nil {
		return nil, ErrBooksAway
	}
	if _, bounded := ctx.Deadline(); !bounded {
		if err := p.askThere(ctx); err != nil {
			return nil, err
		}
	}
	resp, err := p.jobs.RoundTrip(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("the books process does not answer: %w", err)
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

// answerBytesMax bounds what AskBooks reads into memory.
const answerBytesMax = 4 << 20

// BooksError is a refusal of the books process.
type BooksError struct {
	Status int    // HTTP
	Reason string // what it said, without the JSON around it
}

func (e *BooksError) Error() string { return e.Reason }

// reasonOf is what an answer gives as its error.
func reasonOf(status string, body []byte) string {
	var refusal struct{ Error string }
	if json.Unmarshal(body, &refusal) == nil && refusal.Error != "" {
		return refusal.Error
	}
	return status
}
