package traffic

import (
	"log/slog"
	"testing"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/link"
)

// TestTheLastConnectedStays: when a books process ends after another one has connected, the other one stays connected.
func TestTheLastConnectedStays(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	p := &peers{log: log, admin: admin.New(admin.Options{Logger: log}), arrived: make(chan struct{}, 1)}
	first, second := &link.Dialer{}, &link.Dialer{}
	p.connected(0, first)
	p.connected(0, second)
	p.disconnected(first)
	if p.away() {
		t.Error("the second is away because the first has left")
	}
	p.disconnected(second)
	if !p.away() {
		t.Error("it is not away, though it has left")
	}
}
