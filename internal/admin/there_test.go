package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBooksThatAnswerNothing: what may take long is not asked of a books process that leaves a short question unanswered, and that
// it does is known without asking.
func TestBooksThatAnswerNothing(t *testing.T) {
	s := newServer(t, "")
	s.relay.there = 50 * time.Millisecond
	released := make(chan struct{})
	books(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-released:
			_, _ = io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	}))
	if _, silent := s.BooksSilent(); silent {
		t.Error("said to be silent before it was asked anything")
	}
	h := s.Handler()
	for _, a := range []answer{get(h, "POST", "/-/job/archive"), get(h, "GET", "/api/v1/paths")} {
		if a.status != 503 || !strings.Contains(a.body, ErrBooksSilent.Error()) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	for what, err := range map[string]error{
		"asked": func() error { _, err := s.AskBooks(t.Context(), "GET", InternalPrefix+"verify"); return err }(),
		"told":  func() error { _, err := s.TellBooks(t.Context(), InternalPrefix+"forget", nil); return err }(),
		"there": s.BooksThere(t.Context()),
	} {
		if !errors.Is(err, ErrBooksSilent) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, silent := s.BooksSilent(); !silent {
		t.Error("not said to be silent")
	}
	bounded, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.AskBooks(bounded, "GET", InternalPrefix+"view"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asked with a deadline: %v", err)
	}
	close(released)
	s.relay.peer.Load().wait = thereWait // it answers: however slowly
	if a := get(h, "GET", "/api/v1/paths"); a.status != 200 || a.body != "done" {
		t.Errorf("a question to one that answers again: %d %s", a.status, a.body)
	}
	if _, silent := s.BooksSilent(); silent {
		t.Error("still said to be silent")
	}
}
