package api

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/wayside-proxy/wayside/collector/live"
	"github.com/wayside-proxy/wayside/collector/store"
)

// recent handles GET /api/v1/recent from memory: the number of responses in each ten-second step of the last half hour.
func (h *handler) recent(r *http.Request) (any, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	if h.Live == nil {
		return nil, ErrUnavailable
	}
	return h.Live.Recent(), nil
}

var tailParams = []string{"path", "method", "host", "prefix", "route", "status", "grpc", "kind", "min_duration", "request_id"}

// tail handles GET /api/v1/tail. It sends server-sent events: an "event" for each response that the filters select from now on, and
// "missed" with the number of events that were omitted because the client reads too slowly.
func (h *handler) tail(w http.ResponseWriter, r *http.Request) {
	watcher, err := h.watch(r)
	if err != nil {
		h.send(w, h.refusal(w, r, err))
		return
	}
	defer watcher.Close()
	s := newStream(w)
	defer s.close()
	for s.err == nil {
		select {
		case line := <-watcher.Lines():
			watcher.Took(line)
			s.send("event", string(line))
		case <-s.heartbeat.C:
			s.beat()
		case <-watcher.Gone():
			return
		case <-r.Context().Done():
			return
		}
		if n := watcher.TakeMissed(); n > 0 {
			s.send("missed", strconv.FormatUint(n, 10))
		}
	}
}

// watch starts a watcher with the filters of a request.
func (h *handler) watch(r *http.Request) (*live.Watcher, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), tailParams...)
	keep := p.eventFilter()
	if p.err != nil {
		return nil, p.err
	}
	if h.Live == nil {
		return nil, ErrUnavailable
	}
	return h.Live.Watch(func(seen *live.Seen) []byte { return h.tailLine(&keep, seen) }), nil
}

// tailLine returns an event in the form that GET /api/v1/events uses, or nil if the filter rejects the event.
func (h *handler) tailLine(keep *eventFilter, seen *live.Seen) []byte {
	e := store.StoredEvent{
		Epoch: seen.Epoch, Seq: seen.Seq, Host: seen.Row.Host, Method: seen.Row.Method, Label: seen.Row.Label, Route: seen.Row.Route,
		Event: *seen.Event,
	}
	if !h.keepsEvent(keep, &e) {
		return nil
	}
	line, err := json.Marshal(h.eventOf(&e))
	if err != nil {
		return nil // cannot happen: the event has only strings and numbers
	}
	return line
}
