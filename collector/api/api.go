// Package api serves the books over HTTP: the snapshot of hot paths, statistics over any range of hours, raw events, the archive
// catalogue, storage, the collector's metrics, and the dashboard that shows all of these.
//
// It runs in the books process behind the admin listener. Except for adding marks, it only reads. Snapshots come from memory (package
// snapshot). Everything else reads the store, at most two queries at a time, so no client can starve the drain loop. The memory of a
// query is bounded by the number of rows, not by the length of the range. The response to wrong parameters is 400 with a JSON object
// whose "error" says what was expected.
//
// Attackers choose host names and paths. This package writes these names only as JSON or CSV, with a Content-Security-Policy that allows
// no inline scripts, and the dashboard inserts them as text.
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/failing"
	"github.com/wayside-proxy/wayside/collector/live"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/secure"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// sumSource is a row source that can add up or select rows faster than its callers could. The store implements it.
type sumSource interface {
	// Sums calls fn with every row name in these hours and the sum of its rows. fn may retain both.
	Sums(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error
	// RowsOf is like Rows, but only for the names that keep accepts. keep gets keys without an Hour. Two calls to RowsOf may run in
	// parallel.
	RowsOf(ctx context.Context, fromHour, toHour int64, keep func(stats.Key) bool, fn func(stats.Key, *stats.Row) error) error
}

// PlanSource provides the archive catalogue. The store implements it.
type PlanSource interface {
	Plans(ctx context.Context, fn func(*catalogue.Plan) error) error
}

// Options configure a handler. Endpoints whose source is nil respond with 503.
type Options struct {
	Rows      snapshot.RowSource
	Plans     PlanSource
	Marks     MarkStore
	Events    EventSource
	Snapshots *snapshot.History
	Storage   func(context.Context) (collector.Storage, error)
	Live      *live.Feed
	Failing   func() failing.Report
	Gatherer  prometheus.Gatherer // the metrics that GET /metrics returns
	Now       func() time.Time    // nil means clock.Now
	Logger    *slog.Logger        // nil means slog.Default

	// Rules returns the rules that merge rows counted before their template was learned. It may be nil.
	Rules func() *paths.Rules

	// Service and Instance are shown in every event, as in the archive.
	Service, Instance string
}

// Bounds of queries.
const (
	queriesMax = 2                // maximum number of queries that read the store at the same time
	waitingMax = 64               // maximum number of queries that wait for a slot
	queryTime  = 40 * time.Second // less than the time that the admin listener waits for a response
)

// slots limit how many queries run at a time, and how many wait.
type slots struct {
	running chan struct{}
	waiting chan struct{}
}

func newSlots(n int) slots {
	return slots{make(chan struct{}, n), make(chan struct{}, waitingMax)}
}

// errBusy means that waitingMax queries are already waiting.
var errBusy = fmt.Errorf("%w: too many queries are waiting", ErrUnavailable)

// take waits for a slot until ctx is done. The caller must call release.
func (s slots) take(ctx context.Context) (release func(), err error) {
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
		return nil, ctx.Err()
	}
}

type handler struct {
	Options
	outbox
	queries slots // for queries that read the store
	quick   slots // for queries that need only memory
	streams streams
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
		o.Snapshots = new(snapshot.History)
	}
	return &handler{Options: o, queries: newSlots(queriesMax), quick: newSlots(1)}
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /snapshot", h.serveSnapshots)
	mux.HandleFunc("GET /snapshot/{version}", h.serveSnapshots)
	mux.HandleFunc("GET /snapshots", h.serveSnapshots)
	for path, fn := range map[string]func(*http.Request) (any, error){
		"changes": h.changes, "marks": h.marks, "paths": h.paths, "series": h.series, "archives": h.archives, "storage": h.storage, "events": h.events, "events/{id}": h.event,
	} {
		mux.HandleFunc("GET /api/v1/"+path, h.answer(h.queries, fn))
	}
	mux.HandleFunc("POST /api/v1/marks", h.answer(h.queries, h.addMark))
	mux.HandleFunc("GET /api/v1/failing", h.answer(h.quick, h.failing))
	mux.HandleFunc("GET /api/v1/recent", h.answer(h.quick, h.recent))
	mux.HandleFunc("GET /api/v1/openapi.json", h.answer(h.quick, h.openAPI))
	mux.HandleFunc("GET /api/v1/{$}", h.answer(h.quick, h.index))
	mux.HandleFunc("GET /api/v1/live", h.serveLive)
	mux.HandleFunc("GET /api/v1/tail", h.tail)
	methods := map[string][]string{}
	for _, e := range endpoints() {
		methods[e.Path] = append(methods[e.Path], e.Method)
	}
	for path, of := range methods {
		mux.HandleFunc(path, h.otherMethod(of...))
	}
	mux.HandleFunc("/api/v1/{$}", h.otherMethod(http.MethodGet))
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		h.send(w, encodeJSON(http.StatusNotFound, errorBody{"no such endpoint; GET /api/v1/ lists all of them"}))
	})
	if h.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(h.Gatherer, promhttp.HandlerOpts{}))
	}
	mux.HandleFunc("GET /{$}", serveDashboard)
	for _, name := range []string{"app.js", "style.css", "icon.svg"} {
		mux.HandleFunc("GET /assets/"+name, serveDashboard)
	}
	return secure.Handler(mux)
}

// otherMethod rejects every method that an endpoint does not support.
func (h *handler) otherMethod(methods ...string) http.HandlerFunc {
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	allow := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		h.send(w, encodeJSON(http.StatusMethodNotAllowed, errorBody{"this endpoint has no " + r.Method + ", only " + allow}))
	}
}

// errorBody is the JSON body of every error.
type errorBody struct {
	Error string `json:"error"`
}

// badRequest is an error in the client's request. The text is sent to the client.
type badRequest struct{ text string }

func (b badRequest) Error() string { return b.text }

// ErrUnavailable means that a source is missing or not reachable. An error that wraps it causes a 503 response with the text of the
// error.
var ErrUnavailable = errors.New("the books are not available at the moment")

// answer turns a function that returns a value or an error into a handler. The function holds a slot while it runs, for at most
// queryTime; its context is canceled if the client disconnects. The slot is released before the encoded response is sent, so slow clients
// do not take up slots.
func (h *handler) answer(s slots, fn func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.send(w, h.compute(w, r, s, fn))
	}
}

// compute takes a slot, calls fn, encodes its result, and releases the slot.
func (h *handler) compute(w http.ResponseWriter, r *http.Request, s slots, fn func(*http.Request) (any, error)) encoded {
	ctx, cancel := context.WithTimeout(r.Context(), queryTime)
	defer cancel()
	release, err := s.take(ctx)
	if err != nil {
		return h.refusal(w, r, err)
	}
	defer release()
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

// refusal is the response to a query that failed.
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
	case r.Context().Err() != nil: // the client has disconnected
		return encoded{}
	case errors.Is(err, context.DeadlineExceeded):
		w.Header().Set("Retry-After", "5")
		return encodeJSON(http.StatusServiceUnavailable, errorBody{"the query took longer than " + queryTime.String() + ": use a shorter range, or try again"})
	default:
		h.Logger.Error("query failed", "path", r.URL.Path, "error", err)
		return encodeJSON(http.StatusInternalServerError, errorBody{"the store could not be read; the log says why"})
	}
}
