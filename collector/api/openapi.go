package api

import (
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/live"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/internal/timeparse"
)

// operation describes an endpoint for GET /api/v1/openapi.json. A test compares it with the handler.
type operation struct {
	path, summary string
	params        []string // query parameters; the handler rejects all others
	answer        any      // zero value of the JSON response
	csv           bool     // the response is also available as text/csv
	stream        string   // describes the stream of server-sent events; empty if the response is not a stream
}

var operations = []operation{
	{path: "/api/v1/paths", summary: "Statistics by path template; the range is widened to whole minutes, or to whole hours if it begins or ends more than 48 hours ago", params: pathsParams, answer: pathsAnswer{}, csv: true},
	{path: "/api/v1/series", summary: "One path, or the sum of all paths that match the filters, over time", params: seriesParams, answer: seriesAnswer{}, csv: true},
	{path: "/api/v1/changes", summary: "What has changed between two ranges: paths that fail more often, are slower, are new, or have vanished", params: changesParams, answer: changesAnswer{}},
	{path: "/api/v1/events", summary: "Raw events that are still in the store", params: eventsParams, answer: eventsAnswer{}, csv: true},
	{path: "/api/v1/events/{id}", summary: "One raw event", answer: Event{}},
	{path: "/api/v1/archives", summary: "The archive catalogue, newest first", params: archivesParams, answer: archivesAnswer{}},
	{path: "/api/v1/failing", summary: "Paths that are failing now, or are slower than usual", params: failingParams, answer: failingAnswer{}},
	{path: "/api/v1/recent", summary: "The last half hour in steps of ten seconds", answer: live.Recent{}},
	{path: "/api/v1/tail", summary: "Events as they are recorded, about a second after their response", params: tailParams, answer: Event{}, stream: `"event" with one event as JSON; "missed" with the number of events that were left out because the client was too slow`},
	{path: "/api/v1/live", summary: "A notice of each new snapshot", stream: `"snapshot" with its version`},
	{path: "/api/v1/marks", summary: "Named points in time: deploys, and when wayside started, reloaded or stopped", params: marksParams, answer: marksAnswer{}},
	{path: "/api/v1/storage", summary: "Bytes and counts by folder, growth, days left", answer: collector.Storage{}},
}

// paramTexts explain the parameters of queries.
var paramTexts = map[string]string{
	"from": "Beginning of the range: " + timeparse.Forms + "; default: 24 hours before to",
	"to":   "End of the range (exclusive), in the same forms as from; default: now",
	"sort": "Sort in descending order of this figure: " + sortNames, "limit": "Maximum number of entries, 1 to 10000; default: 100",
	"method": "Only this method", "host": "Only this host", "prefix": "Only templates that begin with this text",
	"path":    "Only this template; for events also the path itself; a trailing * makes it a prefix",
	"status":  "Only with these statuses: " + query.StatusForms,
	"route":   "Only this route",
	"grpc":    "Only gRPC calls with these statuses: " + query.GRPCForms,
	"compare": "previous: compare with the previous range of the same length", "compare_from": "Beginning of the range to compare with, in the same forms as from",
	"compare_to": "End of the range to compare with, in the same forms as from", "spark": "Divide the range into this many equal parts, 1 to 96, and add the counts of each part to every row",
	"step": "Length of a point: whole hours or days (1h, 1d), or minutes that divide an hour (1m, 5m)",
	"bins": "Also divide the latencies of each point into bins, this many per doubling of the latency: 1, 2, 4 or 8; at most 1000 points", "kind": "request, stream or drop",
	"request_id":   "Only the event with this X-Request-ID: responses that wayside itself generates have one, others only with record.request_id",
	"min_duration": "Only events that took at least this long: a duration (250ms) or a number of microseconds", "order": "desc (default) or asc",
	"cursor": "next_cursor of the previous page", "state": "planned, verified or deleted",
}

// openAPI returns the description of all operations. It is built on first use.
var openAPI = sync.OnceValue(func() map[string]any {
	paths := map[string]any{}
	for _, op := range operations {
		var params []any
		for _, p := range op.params {
			params = append(params, parameter(p, "query", paramTexts[p]))
		}
		if strings.Contains(op.path, "{id}") {
			params = append(params, parameter("id", "path", "event_id"))
		}
		content := op.content()
		refusal := map[string]any{"application/json": map[string]any{"schema": schemaOf(reflect.TypeFor[errorBody]())}}
		get := map[string]any{"summary": op.summary, "responses": map[string]any{
			"200": map[string]any{"description": "the result", "content": content},
			"400": map[string]any{"description": "an invalid parameter", "content": refusal},
			"503": map[string]any{"description": "the books are not available", "content": refusal},
		}}
		if params != nil {
			get["parameters"] = params
		}
		paths[op.path] = map[string]any{"get": get}
	}
	return map[string]any{
		"openapi": "3.1.0", "info": map[string]any{"title": "wayside", "version": "1"}, "paths": paths,
	}
})

// content describes the response of an endpoint.
func (op *operation) content() map[string]any {
	text := map[string]any{"type": "string"}
	if op.stream != "" {
		return map[string]any{"text/event-stream": map[string]any{"schema": map[string]any{"type": "string", "description": op.stream}}}
	}
	content := map[string]any{"application/json": map[string]any{"schema": schemaOf(reflect.TypeOf(op.answer))}}
	if op.csv {
		content["text/csv"] = map[string]any{"schema": text}
	}
	return content
}

func parameter(name, in, text string) map[string]any {
	return map[string]any{
		"name": name, "in": in, "required": in == "path", "description": text, "schema": map[string]any{"type": "string"},
	}
}

// schemaOf returns the schema of a type's JSON.
func schemaOf(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[uuid.UUID]():
		return map[string]any{"type": "string", "format": "uuid"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Struct:
		properties := map[string]any{}
		addProperties(properties, t)
		return map[string]any{"type": "object", "properties": properties}
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	default:
		return map[string]any{"type": "integer"}
	}
}

func addProperties(to map[string]any, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Pointer:
			addProperties(to, f.Type.Elem())
		case f.Anonymous && name == "":
			addProperties(to, f.Type)
		case f.Type == reflect.TypeFor[*struct{}](): // such a field hides the field of the same name in an embedded type
			delete(to, name)
		case name != "" && name != "-":
			to[name] = schemaOf(f.Type)
		}
	}
}

func (h *handler) openAPI(r *http.Request) (any, error) {
	return openAPI(), noParameters(r)
}

// indexEntry is one endpoint in the response of GET /api/v1/.
type indexEntry struct {
	Method     string   `json:"method"`
	Path       string   `json:"path"`
	Summary    string   `json:"summary"`
	Parameters []string `json:"parameters,omitempty"` // query parameters
}

// otherEndpoints are served by other parts of wayside.
var otherEndpoints = []indexEntry{
	{Method: "GET", Path: "/snapshot", Summary: "The latest snapshot of the hot paths; with ETag and gzip"},
	{Method: "GET", Path: "/snapshot/{version}", Summary: "One of the last five snapshots"},
	{Method: "GET", Path: "/snapshots", Summary: "The available snapshots"},
	{Method: "GET", Path: "/api/v1/accounting", Summary: "The figures that must add up, and whether they do"},
	{Method: "GET", Path: "/api/v1/upstreams", Summary: "Groups of servers: state and its reason, connections, counters"},
	{Method: "GET", Path: "/api/v1/jobs", Summary: "Scheduled jobs: schedule, last runs, next run"},
	{Method: "GET", Path: "/metrics", Summary: "Prometheus metrics of both processes"},
	{Method: "GET", Path: "/livez", Summary: "Whether the process is alive"},
	{Method: "GET", Path: "/readyz", Summary: "Whether the process accepts traffic; with verbose, the state of every part", Parameters: []string{"verbose"}},
	{Method: "POST", Path: "/api/v1/marks", Summary: "Sets a mark; the body is {\"text\": \"…\"}"},
	{Method: "POST", Path: "/api/v1/verify", Summary: "Checks the books and the archive; with local, only the books", Parameters: []string{"local"}},
	{Method: "POST", Path: "/-/reload", Summary: "Reads the configuration again"},
	{Method: "POST", Path: "/-/job/{name}", Summary: "Runs a scheduled job now: archive, clean, report or prune", Parameters: []string{"all"}},
	{Method: "POST", Path: "/-/backup", Summary: "Copies the data directory, as it is at one moment, into a new folder"},
	{Method: "POST", Path: "/-/forget", Summary: "Removes paths from the books; the body selects them"},
}

// endpoints returns all endpoints of the admin listener.
func endpoints() []indexEntry {
	list := make([]indexEntry, 0, len(operations)+len(otherEndpoints)+1)
	for _, op := range operations {
		list = append(list, indexEntry{http.MethodGet, op.path, op.summary, op.params})
	}
	list = append(list, indexEntry{Method: http.MethodGet, Path: "/api/v1/openapi.json", Summary: "The endpoints of the books in OpenAPI form, with every field"})
	return append(list, otherEndpoints...)
}

// index serves GET /api/v1/, the list of endpoints.
func (h *handler) index(r *http.Request) (any, error) {
	return map[string]any{"endpoints": endpoints()}, noParameters(r)
}
