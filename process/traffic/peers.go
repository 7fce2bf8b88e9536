package traffic

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/link"
)

// peers knows which books process is connected, and whether it answers.
type peers struct {
	log       *slog.Logger
	admin     *admin.Server                   // relays requests to the one that is connected
	refresh   func(ctx context.Context) error // reads the store's figures, which are needed when it cannot be asked
	meanwhile func() string                   // describes what happens to responses while none answers
	arrived   chan struct{}                   // capacity 1: another one has connected

	mu     sync.Mutex
	dialer *link.Dialer // guarded by mu: of the one that connected last; nil while none is connected
}

func (p *peers) away() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialer == nil
}

// connected makes the books process of dialer the one that is asked.
func (p *peers) connected(pid int, dialer *link.Dialer) {
	p.log.Info("books process started", "pid", pid)
	p.mu.Lock()
	p.dialer = dialer
	p.admin.SetBooks(dialer)
	p.mu.Unlock()
	select {
	case p.arrived <- struct{}{}:
	default:
	}
}

// disconnected is called when the books process of dialer has ended; nil means the one that is connected. If another one has connected
// since, that one stays.
func (p *peers) disconnected(dialer *link.Dialer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if dialer != nil && p.dialer != dialer {
		return
	}
	p.dialer = nil
	p.admin.SetBooks(nil)
}

// pingInterval is the time between two pings of the books process.
const pingInterval = 2 * time.Second

// ping asks the books process at intervals whether it answers, so that nobody who needs to know that must wait for it. One that answers is
// also asked for the figures of its store, if there are new ones.
func (p *peers) ping(ctx context.Context) {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for silent := false; ; {
		err := p.admin.PingBooks(ctx)
		switch {
		case err == nil && silent: // other errors do not show that it answers
			silent = false
			p.log.Info("the books process answers again")
		case errors.Is(err, admin.ErrBooksSilent) && !silent && ctx.Err() == nil:
			silent = true
			p.log.Warn("the books process does not answer; traffic is served", "meanwhile", p.meanwhile())
		}
		if err == nil {
			if err := p.refresh(ctx); err != nil {
				p.log.Debug("ask for the store's figures", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-p.arrived:
		case <-tick.C:
		}
	}
}
