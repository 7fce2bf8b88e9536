package main

import (
	"log/slog"
	"testing"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/link"
)

// TestTheOneThatCameLastStays: the end of a books process that another has followed does not make that one away.
func TestTheOneThatCameLastStays(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	tr := &traffic{log: log, admin: admin.New(admin.Options{Logger: log})}
	tr.peer.came = make(chan struct{}, 1)
	first, second := &link.Dialer{}, &link.Dialer{}
	tr.booksCame(0, first)
	tr.booksCame(0, second)
	tr.booksLeft(first)
	if tr.peer.away() {
		t.Error("the second is away because the first has left")
	}
	tr.booksLeft(second)
	if !tr.peer.away() {
		t.Error("it is not away, though it has left")
	}
}
