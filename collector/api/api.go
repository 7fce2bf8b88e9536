// Package api answers questions about the books over HTTP: the snapshot of hot paths, statistics over any range of hours,
// the archive catalogue, storage, accounting, the collector's metrics, and the dashboard that shows them.
//
// It runs in the books process behind the admin listener and only reads. Snapshots come from memory (package snapshot);
// everything else reads the store, at most two queries at a time so that a curious client cannot starve the drain loop,
// and in memory bounded by the number of rows, not by the length of the range. Bad parameters are answered with 400 and a
// JSON object whose "error" says what was expected.
//
// Host names and paths are an attacker's text. They leave here only as JSON, with a Content-Security-Policy that allows no
// inline script, and the dashboard inserts them as text.
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wayside-proxy/wayside/collector/api/snapshot"
	"github.com/wayside-proxy/wayside/collector/live"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/secure"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// RowSource yields statistics; the store satisfies it.
type RowSource interface {
	// Rows calls fn for every row of the hours [fromHour, toHour), each key once, in the order of hours. The row is valid
	// during the call.
	Rows(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error
}

// sumSource is a RowSource that adds rows up faster than by giving out each; the store is one.
type sumSource interface {
	// Sums calls fn with every row name of the hours and the sum of its rows, which is fn's to keep.
	Sums(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error
	// RowsOf is Rows for the names that keep wants; their Hour is not set. Both are called for the halves of a range at a time.
	RowsOf(ctx context.Context, fromHour, toHour int64, keep func(stats.Key) bool, fn func(stats.Key, *stats.Row) error) error
}

// dropSource is a RowSource that knows what is missing from its rows; the store is one.
type dropSource interface {
	// Drops calls fn with the responses that could not be recorded in the hours, several times for an hour and a reason.
	Drops(ctx context.Context, fromHour, toHour int64, fn func(hour int64, reason string, responses uint64)) error
}

// PlanSource yields the archive catalogue; the store satisfies it.
type PlanSource interface {
	Plans(ctx context.Context, fn func(*catalogue.Plan) error) error
}

// Options wire a handler. A nil source makes its endpoint answer 503.
type Options struct {
	Rows      RowSource
	Plans     PlanSource
	Events    EventSource
	Snapshots *snapshot.History
	Storage   func(context.Context) (Storage, error)
	Live      *live.Feed
	Gatherer  prometheus.Gatherer // what GET /metrics shows
	Now       func() time.Time    // nil means clock.Now
	Logger    *slog.Logger        // nil means slog.Default

	// Rules merge rows that were counted before their template was learnt; nil: none.
	Rules func() *paths.Rules

	// Service and Instance are shown with every event, as in the archive.
	Service, Instance string
}

// Bounds of queries.
const (
	queriesMax = 2                // that read the store at the same time
	waitingMax = 64               // that wait for others to end
	queryTime  = 40 * time.Second // less than the admin listener waits for an answer
)

// slots let a number of queries run at a time. Others wait, but not too many.
type slots struct {
	running chan struct{}
	waiting chan struct{}
}

func newSlots(n int) slots {
	return slots{make(chan struct{}, n), make(chan struct{}, waitingMax)}
}

// errBusy says that too many queries wait already.
var errBusy = fmt.Errorf("%w: too many queries are waiting", ErrUnavailable)

// take waits for a slot, for as long as ctx lasts. The caller gives it back.
func (s slots) take(ctx context.Context) (giveBack func(), err error) {
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return nil, errBusy
	}
	select {
	case s.running <- struct{}{}:
		return func() { <-s.running }, nil
	case <-ctx.Done():
		return nil, ctx.Err() //nolint:wrapcheck // the caller's own
	}
}

type handler struct {
	Options
	outbox
	queries slots // that read the store
	looks   slots // at what is in memory
}

// NewHandler returns the handler for everything this package serves.
func NewHandler(o Options) http.Handler { return newHandler(o).routes() }

func newHandler(o Options) *handler {
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Rules == nil {
		o.Rules = func() *paths.Rules { return nil }
	}
	if o.Snapshots == nil {
		o.Snapshots = snapshot.NewHistory(0)
	}
	return &handler{Options: o, queries: newSlots(queriesMax), looks: newSlots(1)}
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	snapshots := snapshot.Handler(h.Snapshots)
	mux.Handle("GET /snapshot", snapshots)
	mux.Handle("GET /snapshot/{version}", snapshots)
	mux.Handle("GET /snapshots", snapshots)
	for path, fn := range map[string]func(*http.Request) (any, error){
		"paths": h.paths, "series": h.series, "archives": h.archives, "storage": h.storage, "events": h.events, "events/{id}": h.event,
	} {
		mux.HandleFunc("GET /api/v1/"+path, h.answer(h.queries, fn))
	}
	mux.HandleFunc("GET /api/v1/recent", h.answer(h.looks, h.recent))
	mux.HandleFunc("GET /api/v1/openapi.json", h.answer(h.looks, h.openAPI))
	mux.HandleFunc("GET /api/v1/{$}", h.answer(h.looks, h.index))
	mux.Handle("GET /api/v1/live", snapshot.Live(h.Snapshots))
	mux.HandleFunc("GET /api/v1/tail", h.tail)
	for _, e := range endpoints() {
		mux.HandleFunc(e.Path, h.otherMethod(e.Method))
	}
	mux.HandleFunc("/api/v1/{$}", h.otherMethod(http.MethodGet))
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		h.send(w, encodeJSON(http.StatusNotFound, errorBody{"no such endpoint; GET /api/v1/ lists those that are there"}))
	})
	if h.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(h.Gatherer, promhttp.HandlerOpts{}))
	}
	dashboard(mux)
	return secure.Handler(mux)
}

// otherMethod refuses the methods that an endpoint does not have.
func (h *handler) otherMethod(has string) http.HandlerFunc {
	allow := has
	if has == http.MethodGet {
		allow += ", " + http.MethodHead
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		h.send(w, encodeJSON(http.StatusMethodNotAllowed, errorBody{"this endpoint has no " + r.Method + ", only " + allow}))
	}
}

// errorBody is the JSON of every refusal.
type errorBody struct {
	Error string `json:"error"`
}

// badRequest is an error that the client made; its text is the answer.
type badRequest struct{ text string }

func (b badRequest) Error() string { return b.text }

// ErrUnavailable means that a source was not wired or is away; an error that wraps it is answered with 503 and its text.
var ErrUnavailable = errors.New("the books are not available at the moment")

// answer turns a function that returns a value or an error into a handler. The function runs while the client is there, for at
// most queryTime, and holds a slot; the answer is encoded, the slot given back, and only then is the client waited for.
func (h *handler) answer(s slots, fn func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.send(w, h.compute(w, r, s, fn))
	}
}

// compute calls the function with a slot held, and encodes what it says.
func (h *handler) compute(w http.ResponseWriter, r *http.Request, s slots, fn func(*http.Request) (any, error)) encoded {
	ctx, cancel := context.WithTimeout(r.Context(), queryTime)
	defer cancel()
	giveBack, err := s.take(ctx)
	if err != nil {
		return h.refusal(w, r, err)
	}
	defer giveBack()
	v, err := fn(r.WithContext(ctx))
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return h.refusal(w, r, err)
	}
	table, isTable := v.(tabular)
	if isTable {
		w.Header().Set("Vary", "Accept")
	}
	if isTable && wantsCSV(r) {
		return encodeCSV(table)
	}
	return encodeJSON(http.StatusOK, v)
}

// refusal is the answer to a query that failed.
func (h *handler) refusal(w http.ResponseWriter, r *http.Request, err error) encoded {
	var bad badRequest
	switch {
	case errors.Is(err, store.ErrNoEvent):
		return encodeJSON(http.StatusNotFound, errorBody{err.Error()})
	case errors.As(err, &bad):
		return encodeJSON(http.StatusBadRequest, errorBody{bad.text})
	case errors.Is(err, ErrUnavailable), errors.Is(err, store.ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		return encodeJSON(http.StatusServiceUnavailable, errorBody{err.Error()})
	case r.Context().Err() != nil: // the client left
		return encoded{}
	case errors.Is(err, context.DeadlineExceeded):
		w.Header().Set("Retry-After", "5")
		return encodeJSON(http.StatusServiceUnavailable, errorBody{"the query took longer than " + queryTime.String() + ": use a shorter range, or try again"})
	default:
		h.Logger.Error("query failed", "path", r.URL.Path, "error", err)
		return encodeJSON(http.StatusInternalServerError, errorBody{"the store could not be read; the log says why"})
	}
}
