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

// metrics are gathered once for all who ask meanwhile, and sent from the same memory.
type metrics struct {
	gathering shared[*gathered]

	mu      sync.Mutex
	sending int       // bytes of gatherings that are being sent; guarded by mu
	newest  *gathered // of those that are being sent, the one that was begun last; nil for none; guarded by mu
}

// gathered is the text of all metrics at one time.
type gathered struct {
	all, public []byte // public: the series that name paths are added up
	senders     int    // guarded by the metrics' mu
}

// booksMetricsWait is how long the books process may take for its metrics.
const booksMetricsWait = 2 * time.Second

// gather returns the traffic process's metrics followed by the books process's, which have other names. While the
// books process is away or silent its metrics are absent, which is what an absence alert looks for.
func (s *Server) gather() *gathered {
	var out bytes.Buffer
	families, err := s.opt.Gatherer.Gather()
	if err != nil {
		s.opt.Logger.Warn("gather metrics", "error", err)
	}
	encoder := expfmt.NewEncoder(&out, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			s.opt.Logger.Warn("encode metrics", "family", family.GetName(), "error", err)
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

// take returns metrics to send; release is to be called once they were sent. While clients leave so much unread that another
// gathering would be too much, all get the last one.
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
		refuse(resp, fasthttp.StatusServiceUnavailable, "too many ask for the metrics at this moment")
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

// lent is a body that several answers have in common.
type lent struct {
	*bytes.Reader
	release func()
}

// Close is called by the server when the answer was sent, or cannot be.
func (l *lent) Close() error {
	l.release()
	return nil
}
