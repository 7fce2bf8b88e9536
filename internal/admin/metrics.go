package admin

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/valyala/fasthttp"
)

// metrics gathers metrics only once for all requests that arrive while it is gathering, and sends them from the same memory.
type metrics struct {
	gathering shared[*gathered]

	mu      sync.Mutex
	sending int       // bytes of all texts that are being sent; guarded by mu
	newest  *gathered // the newest text that is being sent; nil if there is none; guarded by mu
}

// gathered is the text of all metrics at one moment.
type gathered struct {
	all, public []byte // the texts; in public, series that differ only in a path are combined
	senders     int    // guarded by the metrics' mu
}

// booksMetricsWait limits the time for gathering the metrics of the books process.
const booksMetricsWait = 2 * time.Second

// gather returns the metrics of the traffic process, followed by those of the books process, whose names differ. While the books process
// is unavailable or does not respond, its metrics are absent, so an alert on absent metrics fires.
func (s *Server) gather() *gathered {
	var out bytes.Buffer
	families, err := s.opt.Gatherer.Gather()
	if err != nil {
		s.opt.Logger.Warn("cannot gather some metrics; leaving them out", "error", err)
	}
	encoder := expfmt.NewEncoder(&out, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			s.opt.Logger.Warn("cannot encode a metric; leaving it out", "family", family.GetName(), "error", err)
		}
	}
	if _, silent := s.BooksSilent(); !silent {
		ctx, cancel := context.WithTimeout(context.Background(), booksMetricsWait)
		defer cancel()
		if books, err := s.AskBooks(ctx, http.MethodGet, "/metrics"); err == nil {
			out.Write(books)
		}
	}
	return &gathered{all: out.Bytes(), public: addUpPaths(out.Bytes())}
}

// take returns metrics to send. The caller must call release when they have been sent. While metricsBytesMax bytes or more are still
// being sent to clients, all requests get the last text instead of a new one.
func (m *metrics) take(gone <-chan struct{}) (g *gathered, release func()) {
	m.mu.Lock()
	if m.sending < metricsBytesMax || m.newest == nil {
		m.mu.Unlock()
		fresh, ok := m.gathering.get(gone)
		if !ok {
			return nil, nil
		}
		m.mu.Lock()
		m.newest = fresh
	}
	defer m.mu.Unlock()
	g = m.newest
	if g.senders++; g.senders == 1 {
		m.sending += g.size()
	}
	return g, sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if g.senders--; g.senders == 0 {
			m.sending -= g.size()
			if m.newest == g {
				m.newest = nil
			}
		}
	})
}

func (g *gathered) size() int { return len(g.all) + len(g.public) }

func (q *request) metrics() {
	resp := &q.ctx.Response
	g, release := q.s.metrics.take(q.gone())
	if g == nil {
		resp.Header.Set("Retry-After", "1")
		refuse(resp, fasthttp.StatusServiceUnavailable, "too many requests for the metrics at the moment")
		return
	}
	text := g.all
	if !q.detailed() {
		text = g.public
	}
	resp.Header.SetContentType(string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	resp.Header.Set("Cache-Control", "no-store")
	resp.SetBodyStream(&lent{bytes.NewReader(text), release}, len(text))
}

// lent is one response's reader of a body that several responses share.
type lent struct {
	*bytes.Reader
	release func()
}

// Close is called by the server when the response has been sent, or cannot be sent.
func (l *lent) Close() error {
	l.release()
	return nil
}
