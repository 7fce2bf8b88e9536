package books

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/internal/secure"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/uploader"
)

// handler serves the requests that the traffic process relays, and the traffic process's own requests.
func (b *books) handler() http.Handler {
	mux := http.NewServeMux()
	options := api.Options{
		Rows: b.store, Plans: b.store, Events: b.store, Marks: b.store, Snapshots: b.collector.Snapshots(), Live: b.collector.Live(),
		Service: b.cfg.Service, Instance: b.cfg.Instance, Rules: b.collector.Rules,
		Storage: b.storage, Gatherer: b.gatherers(), Logger: b.log,
	}
	if b.failing != nil {
		options.Failing = b.failing.Report
	}
	mux.Handle("/", api.NewHandler(options))
	mux.HandleFunc("GET "+admin.PathView, func(w http.ResponseWriter, r *http.Request) {
		view, err := b.collector.View(r.Context())
		reply(w, view, err)
	})
	mux.HandleFunc("GET "+admin.PathArchive, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, b.archiveState(), nil)
	})
	mux.HandleFunc("GET "+admin.PathRefill, func(w http.ResponseWriter, _ *http.Request) { reply(w, b.refillState(), nil) })
	mux.HandleFunc("GET "+admin.PathFiles, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, append(store.Tables(filepath.Join(b.cfg.Data.Dir, datadir.StoreDir)), "MANIFEST", "*.mem", "*.vlog"), nil)
	})
	mux.HandleFunc("GET "+admin.PathPing, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /api/v1/jobs", asks(func(w http.ResponseWriter, r *http.Request, _ query.Values) { b.jobs(w, r) }))
	mux.HandleFunc("GET "+admin.PathCatalogue, asks(func(w http.ResponseWriter, r *http.Request, _ query.Values) { b.serveCatalogue(w, r) }))
	mux.HandleFunc("GET "+admin.PathConfig, b.serveConfig)
	mux.HandleFunc("GET "+admin.PathVerify, b.serveVerify)
	mux.HandleFunc("POST "+admin.PathFinish, func(w http.ResponseWriter, r *http.Request) {
		stopped := time.Now()
		done := b.finish(r.Context())
		b.logFailure("cannot store the time at which the traffic process stopped", b.store.EndRun(stopped))
		reply(w, done, nil)
	})
	mux.HandleFunc("POST "+admin.PathMark, b.serveMark)
	mux.HandleFunc("POST "+admin.PathForget, b.serveForget)
	mux.HandleFunc("POST "+admin.PathBackup+"{step}", b.serveBackup)
	mux.HandleFunc("POST "+admin.PathJob+"{name}", asks(func(w http.ResponseWriter, r *http.Request, v query.Values) {
		all, err := v.Flag("all")
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		name := r.PathValue("name")
		if !slices.Contains(JobNames, name) {
			refuse(w, http.StatusNotFound, fmt.Errorf("unknown job %q: known: %s", name, strings.Join(JobNames, ", ")))
			return
		}
		done, err := b.job(r.Context(), name, all)
		reply(w, done, err)
	}, "all"))
	return secure.Handler(mux)
}

// asks returns a handler that parses the query string strictly, rejects unknown parameters, and calls fn with the values.
func asks(fn func(http.ResponseWriter, *http.Request, query.Values), known ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		values, err := query.Parse(r.URL.RawQuery, known...)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		fn(w, r, values)
	}
}

// storage returns the size of the data directory, and whether a refill is incomplete.
func (b *books) storage(ctx context.Context) (collector.Storage, error) {
	s, err := b.collector.Storage(ctx)
	s.Refill = b.refillStatus()
	return s, err
}

// archiveState returns the archive's line in /readyz?verbose.
func (b *books) archiveState() admin.State {
	s := b.uploader.Status()
	if job := s.Jobs[uploader.JobArchive]; job.LastError != "" {
		return admin.State{Detail: fmt.Sprintf("%s; failed %s, next try %s; nothing is deleted locally until it succeeds",
			job.LastError, terminal.Counted(job.ConsecutiveFailures, "time"), job.NextTry.UTC().Format(time.RFC3339))}
	}
	if s.Unusable != "" {
		return admin.State{Detail: "cannot be used: " + s.Unusable + "; events stay in the data directory until it can be used again"}
	}
	left := terminal.Counted(s.PendingEvents, "event") + " left by the last archive job" // whether or not archive.after has passed for them
	totals, err := b.store.Totals()
	if err != nil {
		return admin.State{OK: true, Detail: s.Target + ", " + left}
	}
	unarchived := terminal.Counted(totals.Applied-min(totals.Archived, totals.Applied), "event") + " not archived yet"
	return admin.State{OK: true, Detail: s.Target + ", " + unarchived + ", " + left}
}

// reply sends v as JSON, or err with status 500.
func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	replyStatus(w, http.StatusOK, v)
}

// refuse sends an error with a status.
func refuse(w http.ResponseWriter, status int, err error) {
	replyStatus(w, status, map[string]string{"error": err.Error()})
}

func replyStatus(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // fails only if the client has disconnected
}
