package snapshot

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Bounds of live streams.
const (
	streamsMax    = 64               // clients at the same time; one more takes the place of the one that came first
	heartbeat     = 15 * time.Second // a comment, so that neither end takes a quiet stream for a dead one
	writeDeadline = 10 * time.Second // for a client that does not read
)

// Changed is closed when a version that follows the latest one is added.
func (h *History) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

// Live serves "GET /api/v1/live": server-sent events, one "snapshot" for the latest version and one for each that follows,
// with its number and time. A client that falls behind is told of the latest only.
func Live(h *History) http.Handler {
	var p places
	return strict(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		place := p.take()
		defer p.leave(place)
		s := NewStream(w)
		defer s.Close()
		for sent := uint64(0); ; {
			changed := h.Changed()
			if latest := h.Latest(); latest != nil && latest.Version != sent {
				sent = latest.Version
				s.Send("snapshot", fmt.Sprintf(`{"version":%d,"generated_at":%q}`, sent, latest.GeneratedAt.Format(time.RFC3339Nano)))
			}
			if !s.wait(r, changed, place) {
				return
			}
		}
	}))
}

// Stream writes server-sent events to one client.
type Stream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	timer *time.Ticker
	err   error
}

// NewStream sends the header of an event stream. Close it in the end.
func NewStream(w http.ResponseWriter) *Stream {
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("Cache-Control", "no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	s := &Stream{w: w, rc: http.NewResponseController(w), timer: time.NewTicker(heartbeat)}
	s.write(": wayside\n\n")
	return s
}

// Send writes one event. data must not contain line feeds, as the JSON that encoding/json writes does not.
func (s *Stream) Send(event, data string) { s.write("event: " + event + "\ndata: " + data + "\n\n") }

func (s *Stream) write(text string) {
	if s.err != nil {
		return
	}
	// Some writers, such as those of tests, have no deadline; they do not block either.
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeDeadline))
	if _, s.err = s.w.Write([]byte(text)); s.err == nil {
		s.err = s.rc.Flush()
	}
}

// wait returns true when changed is closed; false if the client left, or has to give way.
func (s *Stream) wait(r *http.Request, changed <-chan struct{}, place chan struct{}) bool {
	for s.err == nil {
		select {
		case <-changed:
			return true
		case <-place:
			return false
		case <-r.Context().Done():
			return false
		case <-s.timer.C:
			s.write(": still here\n\n")
		}
	}
	return false
}

// Alive reports whether everything could be written so far.
func (s *Stream) Alive() bool { return s.err == nil }

// Heartbeat ticks when [Stream.Beat] is due, for callers that wait by themselves.
func (s *Stream) Heartbeat() <-chan time.Time { return s.timer.C }

// Beat keeps a quiet stream alive.
func (s *Stream) Beat() { s.write(": still here\n\n") }

// Close stops the heartbeat.
func (s *Stream) Close() { s.timer.Stop() }

// places are the streams there are, the oldest first. A place is a channel that is closed when it goes to somebody else.
type places struct {
	mu    sync.Mutex
	taken []chan struct{} // guarded by mu
}

func (p *places) take() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.taken) >= streamsMax {
		close(p.taken[0])
		p.taken = p.taken[1:]
	}
	place := make(chan struct{})
	p.taken = append(p.taken, place)
	return place
}

func (p *places) leave(place chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.taken, place); i >= 0 {
		p.taken = slices.Delete(p.taken, i, i+1)
	}
}
