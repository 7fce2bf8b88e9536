package snapshot

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/query"
)

// Handler serves "GET /snapshot", "GET /snapshot/{version}" and "GET /snapshots" from a History. Without any snapshot it
// answers 503 with a reason and Retry-After.
func Handler(h *History) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /snapshot", func(w http.ResponseWriter, r *http.Request) {
		s := h.Latest()
		if s == nil {
			w.Header().Set("Retry-After", "1")
			fail(w, http.StatusServiceUnavailable, "no snapshot yet: the collector has not published one")
			return
		}
		w.Header().Set("Cache-Control", "no-cache") // keep it, but ask each time: that is what the ETag is for
		serve(w, r, s)
	})
	mux.HandleFunc("GET /snapshot/{version}", func(w http.ResponseWriter, r *http.Request) {
		version, err := strconv.ParseUint(r.PathValue("version"), 10, 64)
		if err != nil {
			fail(w, http.StatusBadRequest, "the version must be a number; GET /snapshots lists them")
			return
		}
		s := h.Get(version)
		if s == nil {
			fail(w, http.StatusNotFound, "this version is not kept; GET /snapshots lists those that are")
			return
		}
		w.Header().Set("Cache-Control", "max-age=3600, immutable")
		serve(w, r, s)
	})
	mux.HandleFunc("GET /snapshots", func(w http.ResponseWriter, _ *http.Request) { list(w, h) })
	return strict(mux)
}

// strict refuses requests with parameters: nothing here takes any.
func strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := query.Parse(r.URL.RawQuery); err != nil {
			fail(w, http.StatusBadRequest, err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

func serve(w http.ResponseWriter, r *http.Request, s *Snapshot) {
	head := w.Header()
	head.Set("ETag", s.ETag)
	head.Set("Vary", "Accept-Encoding")
	head.Set("X-Content-Type-Options", "nosniff")
	if matches(r.Header.Values("If-None-Match"), s.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := s.JSON
	if acceptsGzip(r.Header.Values("Accept-Encoding")) {
		body = s.Gzip
		head.Set("Content-Encoding", "gzip")
	}
	head.Set("Content-Type", "application/json")
	head.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that left is its own affair
	}
}

func list(w http.ResponseWriter, h *History) {
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
	writeJSON(w, http.StatusOK, map[string]any{"snapshots": entries})
}

func fail(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// matches implements If-None-Match with weak comparison (RFC 9110 section 13.1.2).
func matches(fields []string, etag string) bool {
	for _, field := range fields {
		for tag := range strings.SplitSeq(field, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3): gzip counts if it is named without q=0, or "*" is.
func acceptsGzip(fields []string) bool {
	star := false
	for _, field := range fields {
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
	}
	return star
}
