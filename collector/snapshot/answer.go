package snapshot

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reply is the response to a request for snapshots. Its body must not be changed.
type reply struct {
	status int
	fields [][2]string // names and values, without Content-Length
	body   []byte
}

// Serve returns the response to a GET request for "/snapshot", "/snapshot/{version}" or "/snapshots". The other arguments are the values
// of two header fields; if a field has several lines, they must be joined by commas. Until there is a snapshot, the response is 503 with
// a reason and Retry-After. The body must not be changed.
func (h *History) Serve(path, ifNoneMatch, acceptEncoding string) (status int, fields [][2]string, body []byte) {
	r := h.answer(path, ifNoneMatch, acceptEncoding)
	return r.status, r.fields, r.body
}

func (h *History) answer(path, ifNoneMatch, acceptEncoding string) reply {
	if path == "/snapshot" {
		s := h.Latest()
		if s == nil {
			r := fail(http.StatusServiceUnavailable, "no snapshot yet: the books process has not published one")
			r.fields = append(r.fields, [2]string{"Retry-After", "1"})
			return r
		}
		return s.answer(ifNoneMatch, acceptEncoding, "no-cache") // a cache may store the response, but must revalidate it each time
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
		return fail(http.StatusNotFound, "this version is not available any more; GET /snapshots lists those that are")
	}
	return s.answer(ifNoneMatch, acceptEncoding, "max-age=3600, immutable")
}

func (s *Snapshot) answer(ifNoneMatch, acceptEncoding, caching string) reply {
	fields := append(make([][2]string, 0, 5), [2]string{"Cache-Control", caching}, [2]string{"Etag", s.ETag}, [2]string{"Vary", "Accept-Encoding"})
	if ifNoneMatch != "" && matches(ifNoneMatch, s.ETag) {
		return reply{status: http.StatusNotModified, fields: fields}
	}
	fields = append(fields, [2]string{"Content-Type", "application/json"})
	if acceptEncoding != "" && acceptsGzip(acceptEncoding) {
		return reply{http.StatusOK, append(fields, [2]string{"Content-Encoding", "gzip"}), s.Gzip}
	}
	return reply{http.StatusOK, fields, s.JSON}
}

func list(h *History) reply {
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
	return encode(http.StatusOK, map[string]any{"snapshots": entries})
}

func fail(status int, text string) reply { return encode(status, map[string]string{"error": text}) }

func encode(status int, v any) reply {
	body, err := json.Marshal(v)
	if err != nil { // JSON cannot have a time after the year 9999
		status, body = http.StatusInternalServerError, []byte(`{"error":"cannot encode the response"}`)
	}
	return reply{status, [][2]string{{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}}, append(body, '\n')}
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

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3): gzip is accepted if "gzip" or "*" is in the list without q=0.
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
