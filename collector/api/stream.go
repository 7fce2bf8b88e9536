package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of event streams.
const (
	streamsMax    = 64               // maximum number of open streams of snapshots; one more displaces the oldest
	heartbeat     = 15 * time.Second // interval of the comments that show both ends that a quiet stream is still open
	writeDeadline = 10 * time.Second // time for a client to accept a write
)

// serveSnapshots serves "/snapshot", "/snapshot/{version}" and "/snapshots", with the same responses as the traffic process.
func (h *handler) serveSnapshots(w http.ResponseWriter, r *http.Request) {
	if err := noParameters(r); err != nil {
		h.send(w, h.refusal(w, r, err))
		return
	}
	status, fields, body := h.Snapshots.Serve(r.URL.Path, strings.Join(r.Header.Values("If-None-Match"), ","), strings.Join(r.Header.Values("Accept-Encoding"), ","))
	for _, field := range fields {
		w.Header().Set(field[0], field[1])
	}
	if status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // G705: a snapshot as JSON or gzip, with its type; if writing fails, the client has disconnected
	}
}

// serveLive handles GET /api/v1/live with server-sent events: a "snapshot" event with a version and a time, first for the latest snapshot
// and then for each new one. A client that reads too slowly misses some of these events, but always receives the latest one.
func (h *handler) serveLive(w http.ResponseWriter, r *http.Request) {
	if err := noParameters(r); err != nil {
		h.send(w, h.refusal(w, r, err))
		return
	}
	displaced := h.streams.enter()
	defer h.streams.leave(displaced)
	s := newStream(w)
	defer s.close()
	for sent := uint64(0); ; {
		changed := h.Snapshots.Changed()
		if latest := h.Snapshots.Latest(); latest != nil && latest.Version != sent {
			sent = latest.Version
			s.send("snapshot", fmt.Sprintf(`{"version":%d,"generated_at":%q}`, sent, latest.GeneratedAt.Format(time.RFC3339Nano)))
		}
		if s.err != nil {
			return
		}
		select {
		case <-changed:
		case <-displaced:
			return
		case <-r.Context().Done():
			return
		case <-s.heartbeat.C:
			s.beat()
		}
	}
}

// stream writes server-sent events to one client. After the first error, it writes nothing more.
type stream struct {
	w         http.ResponseWriter
	rc        *http.ResponseController
	heartbeat *time.Ticker // ticks when beat is due
	err       error
}

// newStream sends the header of an event stream. The caller must close the stream.
func newStream(w http.ResponseWriter) *stream {
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("Cache-Control", "no-store")
	s := &stream{w: w, rc: http.NewResponseController(w), heartbeat: time.NewTicker(heartbeat)}
	s.write(": wayside\n\n")
	return s
}

// send writes one event. data must not contain line feeds; the output of encoding/json has none.
func (s *stream) send(event, data string) { s.write("event: " + event + "\ndata: " + data + "\n\n") }

// beat keeps a quiet stream alive.
func (s *stream) beat() { s.write(": still here\n\n") }

func (s *stream) write(text string) {
	if s.err != nil {
		return
	}
	// The writers in tests may not support deadlines, but they never block.
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeDeadline))
	if _, s.err = s.w.Write([]byte(text)); s.err == nil {
		s.err = s.rc.Flush()
	}
}

func (s *stream) close() { s.heartbeat.Stop() }

// streams holds the open streams of snapshots, oldest first. Each stream is represented by a channel that is closed when a newer stream
// displaces it.
type streams struct {
	mu   sync.Mutex
	open []chan struct{} // guarded by mu
}

// enter adds a stream. It displaces the oldest one if there are too many.
func (s *streams) enter() (displaced chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= streamsMax {
		close(s.open[0])
		s.open = s.open[1:]
	}
	displaced = make(chan struct{})
	s.open = append(s.open, displaced)
	return displaced
}

func (s *streams) leave(displaced chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.open, displaced); i >= 0 {
		s.open = slices.Delete(s.open, i, i+1)
	}
}
