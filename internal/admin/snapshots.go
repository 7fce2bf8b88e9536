package admin

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// snapshotsKept is how many versions stay in memory.
const snapshotsKept = 5

// Snapshot is one published version, ready to be sent.
type Snapshot struct {
	Version     uint64
	ETag        string // quoted, as in the header field
	GeneratedAt time.Time
	JSON        []byte
	Gzip        []byte // the same, compressed; may be nil
}

// snapshots holds the latest versions, newest first. Readers take the whole slice; a writer replaces it.
type snapshots struct {
	list atomic.Pointer[[]*Snapshot]
}

// PutSnapshot makes a version the latest. Its bytes must not change afterwards. One goroutine calls it at a time.
func (s *Server) PutSnapshot(snap *Snapshot) {
	next := []*Snapshot{snap}
	for _, old := range s.snapshots.all() {
		if old.Version != snap.Version && len(next) < snapshotsKept {
			next = append(next, old)
		}
	}
	s.snapshots.list.Store(&next)
}

func (s *snapshots) all() []*Snapshot {
	if list := s.list.Load(); list != nil {
		return *list
	}
	return nil
}

func (s *Server) latestSnapshot(w http.ResponseWriter, r *http.Request) {
	list := s.snapshots.all()
	if len(list) == 0 {
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, "no snapshot yet: the books process has not made one")
		return
	}
	sendSnapshot(w, r, list[0], "no-cache")
}

func (s *Server) oneSnapshot(w http.ResponseWriter, r *http.Request) {
	version, err := strconv.ParseUint(r.PathValue("version"), 10, 64)
	if err != nil {
		writeError(w, http.StatusBadRequest, "a snapshot version is a number")
		return
	}
	for _, snap := range s.snapshots.all() {
		if snap.Version == version {
			sendSnapshot(w, r, snap, "public, max-age=31536000, immutable")
			return
		}
	}
	writeError(w, http.StatusNotFound, "this version is not kept; GET /snapshots lists those that are")
}

func (s *Server) listSnapshots(w http.ResponseWriter, _ *http.Request) {
	type entry struct {
		Version     uint64    `json:"version"`
		GeneratedAt time.Time `json:"generated_at"`
		ETag        string    `json:"etag"`
		Bytes       int       `json:"bytes"`
	}
	list := []entry{}
	for _, snap := range s.snapshots.all() {
		list = append(list, entry{snap.Version, snap.GeneratedAt, snap.ETag, len(snap.JSON)})
	}
	writeJSON(w, http.StatusOK, map[string]any{"snapshots": list})
}

func sendSnapshot(w http.ResponseWriter, r *http.Request, snap *Snapshot, cache string) {
	h := w.Header()
	h["Etag"] = []string{snap.ETag}
	h.Set("Cache-Control", cache)
	h.Set("Vary", "Accept-Encoding")
	if etagMatches(r.Header.Get("If-None-Match"), snap.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json; charset=utf-8")
	body := snap.JSON
	if snap.Gzip != nil && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = snap.Gzip
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// etagMatches implements If-None-Match (RFC 9110 section 13.1.2) with the weak comparison it asks for.
func etagMatches(field, etag string) bool {
	for candidate := range strings.SplitSeq(field, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == etag {
			return true
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3): gzip is accepted if listed with a weight above 0.
func acceptsGzip(field string) bool {
	for item := range strings.SplitSeq(field, ",") {
		coding, params, _ := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		weight, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
		q, err := strconv.ParseFloat(weight, 64)
		return !found || (err == nil && q > 0)
	}
	return false
}
