package live

import (
	"encoding/json"
	"errors"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Bounds of watching.
const (
	WatchersMax = 32   // at the same time
	feedMax     = 1024 // events that wait for one watcher
)

// ErrTooManyWatchers is returned by Watch beyond WatchersMax.
var ErrTooManyWatchers = errors.New("too many clients are watching already")

// Filter selects events. The zero value selects all.
type Filter struct {
	Path        string // template, path, or a pattern with * for either; empty: any
	Method      string
	Host        string // in lower case
	StatusMin   uint16 // inclusive; 0: any
	StatusMax   uint16 // inclusive; 0: any
	LatencyMin  time.Duration
	OnlyFailed  bool // with an error type, or status 500 and above
	latencyFrom uint64
}

// Event is what a watcher sees, named like the fields of the archive.
type Event struct {
	ID        string `json:"event_id"`
	Time      string `json:"ts"`
	Method    string `json:"http_request_method,omitempty"`
	Path      string `json:"url_path,omitempty"`
	Template  string `json:"url_template"`
	Status    uint16 `json:"http_response_status_code"`
	Duration  uint64 `json:"duration_us"`
	TTFB      uint64 `json:"ttfb_us"`
	BytesIn   uint64 `json:"http_request_body_size"`
	BytesOut  uint64 `json:"http_response_body_size"`
	Host      string `json:"server_address,omitempty"`
	Upstream  string `json:"upstream_address,omitempty"`
	Protocol  string `json:"network_protocol_version,omitempty"`
	Client    string `json:"client_address,omitempty"`
	TraceID   string `json:"trace_id,omitempty"`
	ErrorType string `json:"error_type,omitempty"`
	Kind      string `json:"kind"`
	Epoch     string `json:"epoch"`
	Seq       uint64 `json:"seq"`
}

// Watcher receives the events that its filter selects until it is closed.
type Watcher struct {
	filter Filter
	events chan []byte
	missed atomic.Uint64
	leave  func()
}

// Events yields one JSON object after the other.
func (w *Watcher) Events() <-chan []byte { return w.events }

// TakeMissed returns how many events did not fit since it was last asked: the watcher is slower than the traffic.
func (w *Watcher) TakeMissed() uint64 { return w.missed.Swap(0) }

// Close ends the watching.
func (w *Watcher) Close() { w.leave() }

type watchers struct {
	mu      sync.Mutex
	present atomic.Pointer[[]*Watcher]
}

func (w *watchers) list() []*Watcher {
	if p := w.present.Load(); p != nil {
		return *p
	}
	return nil
}

// Watch begins to deliver events that are applied from now on.
func (f *Feed) Watch(filter Filter) (*Watcher, error) {
	filter.latencyFrom = uint64(max(filter.LatencyMin, 0) / time.Microsecond)
	w := &Watcher{filter: filter, events: make(chan []byte, feedMax)}
	w.leave = sync.OnceFunc(func() { f.watchers.change(func(list []*Watcher) []*Watcher { return without(list, w) }) })
	full := false
	f.watchers.change(func(list []*Watcher) []*Watcher {
		if full = len(list) >= WatchersMax; full {
			return list
		}
		return append(append([]*Watcher(nil), list...), w)
	})
	if full {
		return nil, ErrTooManyWatchers
	}
	return w, nil
}

func (w *watchers) change(fn func([]*Watcher) []*Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := fn(w.list())
	w.present.Store(&next)
}

func without(list []*Watcher, w *Watcher) []*Watcher {
	var next []*Watcher
	for _, have := range list {
		if have != w {
			next = append(next, have)
		}
	}
	return next
}

// show hands an event to the watchers that want it. It is encoded once, and only if there is one; nobody is waited for.
func (b *Batch) show(label string, seq uint64, e *event.Event) {
	var line []byte
	for _, w := range b.watch {
		if !w.filter.wants(label, e) {
			continue
		}
		if line == nil {
			line = encode(b.epoch, label, seq, e)
		}
		select {
		case w.events <- line:
		default:
			w.missed.Add(1)
		}
	}
}

func (f *Filter) wants(label string, e *event.Event) bool {
	return (f.Method == "" || f.Method == string(e.Method)) && (f.Host == "" || f.Host == string(e.Host)) &&
		(f.StatusMin == 0 || e.Status >= f.StatusMin) && (f.StatusMax == 0 || e.Status <= f.StatusMax) &&
		e.LatencyMicros() >= f.latencyFrom && (!f.OnlyFailed || e.IsError()) &&
		(f.Path == "" || f.matches(label) || f.matches(string(e.Path)))
}

// matches compares a path with the wanted one: equal, or by pattern where that has a star. A star at the end matches
// everything below, one elsewhere one segment.
func (f *Filter) matches(text string) bool {
	if text == f.Path {
		return true
	}
	if !strings.Contains(f.Path, "*") {
		return false
	}
	if prefix, ok := strings.CutSuffix(f.Path, "*"); ok && !strings.Contains(prefix, "*") {
		return strings.HasPrefix(text, prefix)
	}
	ok, err := path.Match(f.Path, text)
	return ok && err == nil
}

func encode(epoch uuid.UUID, label string, seq uint64, e *event.Event) []byte {
	line, err := json.Marshal(Event{
		ID: event.ID(e.TimeMicros, epoch, seq).String(), Time: time.UnixMicro(e.TimeMicros).UTC().Format("2006-01-02T15:04:05.000000Z"),
		Method: string(e.Method), Path: string(e.Path), Template: label, Status: e.Status,
		Duration: e.DurationMicros, TTFB: e.TTFBMicros, BytesIn: e.RequestBytes, BytesOut: e.ResponseBytes,
		Host: string(e.Host), Upstream: string(e.Upstream), Protocol: string(e.Protocol), Client: string(e.Client),
		TraceID: string(e.TraceID), ErrorType: string(e.ErrorType), Kind: e.Kind.String(), Epoch: epoch.String(), Seq: seq,
	})
	if err != nil {
		return nil // cannot be: strings and numbers
	}
	return line
}
