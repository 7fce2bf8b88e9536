package api

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/wayside-proxy/wayside/collector/api/snapshot"
	"github.com/wayside-proxy/wayside/collector/live"
	"github.com/wayside-proxy/wayside/collector/store"
)

// recent answers GET /api/v1/recent: responses per ten seconds over the last half hour, from memory. It needs no query
// slot, because it does not read the store.
func (h *handler) recent(w http.ResponseWriter, r *http.Request) {
	switch {
	case noParameters(r) != nil:
		writeJSON(w, http.StatusBadRequest, errorBody{noParameters(r).Error()})
	case h.Live == nil:
		writeJSON(w, http.StatusServiceUnavailable, errorBody{ErrUnavailable.Error()})
	default:
		writeJSON(w, http.StatusOK, h.Live.Recent())
	}
}

var tailParams = []string{"path", "method", "host", "prefix", "status", "kind", "min_duration"}

// tail answers GET /api/v1/tail: server-sent events, one "event" for each response that the filters select from now on,
// and "missed" with a number where the client could not keep up.
func (h *handler) tail(w http.ResponseWriter, r *http.Request) {
	p := parseParams(r.URL.RawQuery, h.Now(), tailParams...)
	keep := p.eventFilter()
	if p.err != nil {
		writeJSON(w, http.StatusBadRequest, errorBody{p.err.Error()})
		return
	}
	if h.Live == nil {
		writeJSON(w, http.StatusServiceUnavailable, errorBody{ErrUnavailable.Error()})
		return
	}
	watcher, err := h.Live.Watch(func(seen *live.Seen) []byte { return h.tailLine(&keep, seen) })
	if err != nil {
		w.Header().Set("Retry-After", "5")
		writeJSON(w, http.StatusServiceUnavailable, errorBody{err.Error()})
		return
	}
	defer watcher.Close()
	s := snapshot.NewStream(w)
	defer s.Close()
	for s.Alive() {
		select {
		case line := <-watcher.Lines():
			s.Send("event", string(line))
		case <-s.Heartbeat():
			s.Beat()
		case <-r.Context().Done():
			return
		}
		if n := watcher.TakeMissed(); n > 0 {
			s.Send("missed", strconv.FormatUint(n, 10))
		}
	}
}

// tailLine is an event as GET /api/v1/events shows it, or nil if the filter does not keep it.
func (h *handler) tailLine(keep *eventFilter, seen *live.Seen) []byte {
	e := store.StoredEvent{
		Epoch: seen.Epoch, Seq: seen.Seq, Host: seen.Host, Method: seen.Method, Label: seen.Label, Event: *seen.Event,
	}
	if !h.keepsEvent(keep, &e) {
		return nil
	}
	line, err := json.Marshal(h.eventOf(&e))
	if err != nil {
		return nil // cannot be: strings and numbers
	}
	return line
}
