package traffic

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// marker sends the marks of this process to the books process, which stores them. While the books process is not running, the marks wait
// here.
type marker struct {
	admin *admin.Server
	log   *slog.Logger
	wake  chan struct{} // contains a value while marks may be waiting

	mu      sync.Mutex
	waiting []catalogue.Mark // guarded by mu; the oldest first
}

const (
	marksWaitingMax = 16              // if there are more, the oldest mark is dropped
	markRetry       = 2 * time.Second // between attempts
)

// add adds a mark with the current time. It does not wait.
func (m *marker) add(kind, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) >= marksWaitingMax {
		m.log.Warn("a mark was lost, because too many are waiting for the books process", "time", m.waiting[0].Time, "text", m.waiting[0].Text)
		m.waiting = m.waiting[1:]
	}
	m.waiting = append(m.waiting, catalogue.Mark{Time: time.Now().UTC().Truncate(time.Microsecond), Kind: kind, Text: text})
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run sends marks until ctx is done. After an error, it tries again, as many times as necessary.
func (m *marker) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		}
		for m.send(ctx) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(markRetry):
			}
		}
	}
}

// send sends the waiting marks.
func (m *marker) send(ctx context.Context) error {
	for {
		m.mu.Lock()
		waiting := m.waiting
		m.mu.Unlock()
		if len(waiting) == 0 {
			return nil
		}
		body, err := json.Marshal(waiting[0])
		if err != nil {
			return err
		}
		if _, err := m.admin.PostBooks(ctx, admin.PathMark, body); err != nil {
			return err
		}
		m.mu.Lock()
		if len(m.waiting) > 0 && m.waiting[0] == waiting[0] {
			m.waiting = m.waiting[1:]
		}
		m.mu.Unlock()
	}
}
