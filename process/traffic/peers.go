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

// peers is which books process is connected.
type peers struct {
	log   *slog.Logger
	admin *admin.Server // relays to the one that is connected

	mu     sync.Mutex
	dialer *link.Dialer  // of the one that came last; nil while none is connected
	came   chan struct{} // holds a token after one has connected
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
	case p.came <- struct{}{}:
	default:
	}
}

// disconnected is called at the end of the books process of dialer; nil: of whichever is connected. One that another has followed
// takes nothing with it.
func (p *peers) disconnected(dialer *link.Dialer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if dialer != nil && p.dialer != dialer {
		return
	}
	p.dialer = nil
	p.admin.SetBooks(nil)
}

// pingInterval is how often the books process is asked whether it answers.
const pingInterval = 2 * time.Second

// keepPinging asks the books process every now and then whether it answers, for those who may not wait for that, and has it say
// what its store holds once it can, for the time when it cannot.
func (t *traffic) keepPinging(ctx context.Context) {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for silent := false; ; {
		err := t.admin.PingBooks(ctx)
		if now := errors.Is(err, admin.ErrBooksSilent); now != silent && !errors.Is(err, admin.ErrBooksAway) && ctx.Err() == nil {
			if now {
				silent = true
				t.log.Warn("the books process does not answer; traffic is served", "meanwhile", t.meanwhile())
			} else if err == nil { // any other error says nothing of it
				silent = false
				t.log.Info("the books process answers again")
			}
		}
		if err == nil {
			if err := t.accounts.Refresh(ctx); err != nil {
				t.log.Debug("ask for the store's figures", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.peers.came:
		case <-tick.C:
		}
	}
}
