package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/wayside-proxy/wayside/collector/api/snapshot"
	"github.com/wayside-proxy/wayside/collector/live"
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

// tail answers GET /api/v1/tail: server-sent events, one "event" for each response that the filters select from now on,
// and "missed" with a number where the client could not keep up.
func (h *handler) tail(w http.ResponseWriter, r *http.Request) {
	filter, err := tailFilter(parseParams(r.URL.RawQuery, h.Now(), "path", "method", "host", "status", "latency_min"))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, errorBody{err.Error()})
		return
	}
	if h.Live == nil {
		writeJSON(w, http.StatusServiceUnavailable, errorBody{ErrUnavailable.Error()})
		return
	}
	watcher, err := h.Live.Watch(filter)
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
		case line := <-watcher.Events():
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

func tailFilter(p *params) (live.Filter, error) {
	f := live.Filter{Path: p.text("path"), Method: strings.ToUpper(p.text("method")), Host: strings.ToLower(p.text("host"))}
	if text := p.text("status"); text != "" {
		var err error
		if f.StatusMin, f.StatusMax, f.OnlyFailed, err = parseStatus(text); err != nil {
			p.fail("%v", err)
		}
	}
	if text := p.text("latency_min"); text != "" {
		d, ok := parseDuration(text)
		if !ok {
			p.fail("latency_min=%q is not a duration: write 250ms or 1.5s", text)
		}
		f.LatencyMin = d
	}
	return f, p.err
}

var errStatus = errors.New("is not a status: write a code (404), a class (5xx), a range (400-499), or error")

// parseStatus reads a code, a class, a range, or "error" for what the statistics count as one.
func parseStatus(text string) (low, high uint16, failed bool, err error) {
	text = strings.ToLower(text)
	if text == "error" {
		return 0, 0, true, nil
	}
	if digit, isClass := strings.CutSuffix(text, "xx"); isClass && len(digit) == 1 && digit[0] >= '1' && digit[0] <= '9' {
		low = uint16(digit[0]-'0') * 100
		return low, low + 99, false, nil
	}
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	a, errA := strconv.ParseUint(from, 10, 16)
	b, errB := strconv.ParseUint(to, 10, 16)
	if errA != nil || errB != nil || a < 100 || b > 999 || a > b {
		return 0, 0, false, fmt.Errorf("status=%q %w", text, errStatus)
	}
	return uint16(a), uint16(b), false, nil
}
