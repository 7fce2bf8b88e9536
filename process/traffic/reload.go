package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/supervise"
	"github.com/wayside-proxy/wayside/internal/systemd"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/spool"
)

// reloader puts a new configuration into effect while requests continue.
type reloader struct {
	load     func() (*configs.Config, error) // reads the configuration again; nil if that is not possible
	log      *slog.Logger
	level    *slog.LevelVar
	proxy    *proxy.Proxy
	tls      *encryption
	recorder proxy.Recorder
	spool    *spool.Set
	dir      *dataDir
	child    *supervise.Supervisor // nil with --no-collector
	mark     func(kind, text string)
	logTo    io.Writer // where the log of both processes goes

	inEffect atomic.Pointer[configs.Config]

	mu         sync.Mutex // held during a reload
	queueLimit int64      // guarded by mu: limit of the spool's queue, in bytes

	ok, failed atomic.Uint64 // number of reloads by result, for the metrics
	last       atomic.Int64  // Unix time of the last successful reload
}

// current returns the configuration in effect.
func (r *reloader) current() *configs.Config { return r.inEffect.Load() }

// handover encodes a configuration for the books process. The log of the books process is written through this process, so the books
// process cannot find out whether the log is shown on a terminal.
func (r *reloader) handover(cfg *configs.Config) ([]byte, error) {
	books := *cfg
	books.Log.Format = logsink.Format(r.logTo, cfg.Log.Format)
	return books.Handover()
}

// Reloaded is the response to POST /-/reload: the keys that have changed, grouped by when their new values take effect.
type Reloaded struct {
	Traffic []string `json:"in_effect"`        // keys whose new values apply to requests that begin from now on
	Books   []string `json:"books_restarting"` // keys whose new values take effect when the books process has restarted
	// Restart has the keys that keep their old values until `wayside run` is restarted. If `wayside collect` is started separately
	// (collector.enabled: false), Restart also has the keys for which that process must be restarted.
	Restart []string `json:"needs_restart"`
}

// reloadWait limits how long a reload waits for the spool, which a slow disk may delay.
const reloadWait = 5 * time.Second

var errNoReload = errors.New("this process has no configuration of its own that it could read again")

// reload reads the configuration from its original source, checks all of it, and puts it into effect. If it returns an error, nothing
// has changed.
func (r *reloader) reload() (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	notify(r.log, systemd.Reloading())
	defer notify(r.log, systemd.Ready)
	change, err := r.apply()
	if err != nil {
		r.failed.Add(1)
		r.log.Error("reload failed; the configuration stays as it was", "error", err)
		return nil, err
	}
	if r.child == nil { // a books process that was started by hand has its own configuration
		change.Restart, change.Books = append(change.Restart, change.Books...), nil
	}
	r.ok.Add(1)
	r.last.Store(time.Now().Unix())
	r.log.Info("configuration reloaded", "in_effect", strings.Join(change.Traffic, " "),
		"books_restarting", strings.Join(change.Books, " "), "needs_restart", strings.Join(change.Restart, " "))
	logWarnings(r.log, r.current())
	r.mark(catalogue.MarkReload, "configuration reloaded")
	list := func(keys []string) []string { return append([]string{}, keys...) } // [] in JSON, not null
	return Reloaded{list(change.Traffic), list(change.Books), list(change.Restart)}, nil
}

func (r *reloader) apply() (change configs.Change, err error) {
	if r.load == nil {
		return change, errNoReload
	}
	next, err := r.load()
	if err != nil {
		return change, err
	}
	if err := next.RequireUpstream(); err != nil {
		return change, err
	}
	merged, change := configs.Reload(r.current(), next)
	if err := merged.Validate(); err != nil { // old values and new ones may contradict each other
		return change, fmt.Errorf("in combination with the current values of the keys that only a restart can change: %w", err)
	}
	handover, err := r.handover(merged)
	if err != nil {
		return change, err
	}
	useCertificates, err := r.tls.reload(merged)
	if err != nil {
		return change, err
	}
	if err := r.proxy.Reload(proxyOptions(merged, r.tls.options(merged), r.recorder, r.log)); err != nil {
		return change, err
	}
	useCertificates()
	_ = r.level.UnmarshalText([]byte(merged.Log.Level)) // cannot fail: the level has been validated
	r.inEffect.Store(merged)
	if err := r.dir.update(); err != nil {
		r.log.Warn("cannot write run.json, which still names the former upstream and archive", "error", err)
	}
	if limit := merged.QueueBytesMax(); limit != r.queueLimit {
		r.limitQueue(limit)
	}
	if len(change.Books) > 0 && r.child != nil {
		r.child.Replace(handover)
	}
	return change, nil
}

func (r *reloader) limitQueue(limit int64) {
	ctx, cancel := context.WithTimeout(context.Background(), reloadWait)
	defer cancel()
	if err := r.spool.LimitQueue(ctx, limit); err != nil {
		r.log.Warn("cannot change the spool's limit; it keeps the old one until wayside is restarted", "bytes", r.queueLimit, "error", err)
		return
	}
	r.log.Info("the spool's limit was adjusted to data.bytes_max", "bytes", limit, "before", r.queueLimit)
	r.queueLimit = limit
}
