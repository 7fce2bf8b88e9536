package snapshot

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/query"
)

// Reply is an answer about snapshots. Its body is never written to.
type Reply struct {
	Status int
	Fields [][2]string // names and values, without the body's length
	Body   []byte
}

// Serve is [History.Answer] for those who do not know a [Reply].
func (h *History) Serve(path, ifNoneMatch, acceptEncoding string) (status int, fields [][2]string, body []byte) {
	r := h.Answer(path, ifNoneMatch, acceptEncoding)
	return r.Status, r.Fields, r.Body
}

// Answer answers a GET request for one of "/snapshot", "/snapshot/{version}" and "/snapshots", given the values of two of its
// fields, several lines joined by commas. Without any snapshot it answers 503 with a reason and Retry-After; other paths are
// not found.
func (h *History) Answer(path, ifNoneMatch, acceptEncoding string) Reply {
	if path == "/snapshot" {
		s := h.Latest()
		if s == nil {
			r := fail(http.StatusServiceUnavailable, "no snapshot yet: the books process has not published one")
			r.Fields = append(r.Fields, [2]string{"Retry-After", "1"})
			return r
		}
		return s.answer(ifNoneMatch, acceptEncoding, "no-cache") // keep it, but ask each time: that is what the ETag is for
	}
	if path == "/snapshots" {
		return list(h)
	}
	number, ok := strings.CutPrefix(path, "/snapshot/")
	version, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return fail(http.StatusBadRequest, "the version must be a number; GET /snapshots lists them")
	}
	s := h.Get(version)
	if s == nil {
		return fail(http.StatusNotFound, "this version is not kept; GET /snapshots lists those that are")
	}
	return s.answer(ifNoneMatch, acceptEncoding, "max-age=3600, immutable")
}

// Handler is Answer for net/http.
func Handler(h *History) http.Handler {
	return strict(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.Answer(r.URL.Path, strings.Join(r.Header.Values("If-None-Match"), ","), strings.Join(r.Header.Values("Accept-Encoding"), ",")).write(w, r)
	}))
}

// strict refuses requests with parameters: nothing here takes any.
func strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := query.Parse(r.URL.RawQuery); err != nil {
			fail(http.StatusBadRequest, err.Error()).write(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (r Reply) write(w http.ResponseWriter, req *http.Request) {
	head := w.Header()
	for _, field := range r.Fields {
		head.Set(field[0], field[1])
	}
	if r.Status == http.StatusNotModified {
		w.WriteHeader(r.Status)
		return
	}
	head.Set("Content-Length", strconv.Itoa(len(r.Body)))
	w.WriteHeader(r.Status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(r.Body) // a client that left is its own affair
	}
}

func (s *Snapshot) answer(ifNoneMatch, acceptEncoding, caching string) Reply {
	fields := append(make([][2]string, 0, 5), [2]string{"Cache-Control", caching}, [2]string{"Etag", s.ETag}, [2]string{"Vary", "Accept-Encoding"})
	if ifNoneMatch != "" && matches(ifNoneMatch, s.ETag) {
		return Reply{Status: http.StatusNotModified, Fields: fields}
	}
	fields = append(fields, [2]string{"Content-Type", "application/json"})
	if acceptEncoding != "" && acceptsGzip(acceptEncoding) {
		return Reply{http.StatusOK, append(fields, [2]string{"Content-Encoding", "gzip"}), s.Gzip}
	}
	return Reply{http.StatusOK, fields, s.JSON}
}

func list(h *History) Reply {
	type entry struct {
		Version     uint64    `json:"version"`
		GeneratedAt time.Time `json:"generated_at"`
		ETag        string    `json:"etag"`
		Bytes       int       `json:"bytes"`
	}
	entries := []entry{}
	for _, s := range h.List() {
		entries = append(entries, entry{s.Version, s.GeneratedAt, s.ETag, len(s.JSON)})
	}
	return reply(http.StatusOK, map[string]any{"snapshots": entries})
}

func fail(status int, text string) Reply { return reply(status, map[string]string{"error": text}) }

func reply(status int, v any) Reply {
	body, err := json.Marshal(v)
	if err != nil { // of a time after the year 9999
		status, body = http.StatusInternalServerError, []byte(`{"error":"cannot encode the answer"}`)
	}
	return Reply{status, [][2]string{{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}}, append(body, '\n')}
}

// matches implements If-None-Match with weak comparison (RFC 9110 section 13.1.2).
func matches(field, etag string) bool {
	for tag := range strings.SplitSeq(field, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3): gzip counts if it is named without q=0, or "*" is.
func acceptsGzip(field string) bool {
	star := false
	for part := range strings.SplitSeq(field, ",") {
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name != "gzip" && name != "x-gzip" && name != "*" {
			continue
		}
		wanted := true
		if _, q, found := strings.Cut(strings.ReplaceAll(params, " ", ""), "q="); found {
			value, err := strconv.ParseFloat(q, 64)
			wanted = err == nil && value > 0
		}
		if name != "*" {
			return wanted
		}
		star = wanted
	}
	return star
}
