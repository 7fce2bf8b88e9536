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

// peers keeps track of which books process is connected, and whether it responds.
type peers struct {
	log       *slog.Logger
	admin     *admin.Server                   // relays requests to the connected books process
	refresh   func(ctx context.Context) error // fetches the store's figures, which are needed when the books process cannot be reached
	meanwhile func() string                   // describes what happens to responses while no books process is responding
	arrived   chan struct{}                   // capacity 1; receives a value when a books process has connected

	mu     sync.Mutex
	dialer *link.Dialer // guarded by mu: connects to the books process that connected last; nil while none is connected
}

func (p *peers) away() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialer == nil
}

// connected makes the books process at the other end of dialer the one to which requests are sent.
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

// disconnected is called when the books process at the other end of dialer has ended; nil means the connected one. If another books
// process has connected since, the new one remains connected.
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

// ping checks at intervals whether the books process is responding, so that other code does not have to wait for a response to find this
// out. If the books process responds, ping also fetches the store's figures if they have changed.
func (p *peers) ping(ctx context.Context) {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for silent := false; ; {
		err := p.admin.PingBooks(ctx)
		switch {
		case err == nil && silent: // only a successful ping shows that it responds again
			silent = false
			p.log.Info("the books process responds again")
		case errors.Is(err, admin.ErrBooksSilent) && !silent && ctx.Err() == nil:
			silent = true
			p.log.Warn("the books process does not respond; traffic is served", "meanwhile", p.meanwhile())
		}
		if err == nil {
			if err := p.refresh(ctx); err != nil {
				p.log.Debug("cannot fetch the store's figures", "error", err)
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
