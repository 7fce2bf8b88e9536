package traffic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/configs"
)

// reloads counts them, for the metrics.
type reloads struct {
	ok, failed atomic.Uint64
	last       atomic.Int64 // unix seconds of the last that succeeded
}

// Reloaded is the answer to POST /-/reload: the keys that changed, by what has become of them.
type Reloaded struct {
	Traffic []string `json:"in_effect"`        // for requests that begin from now on
	Books   []string `json:"books_restarting"` // the books process starts again with them
	// Restart are those whose former value stays until wayside run is started again; without a books process of its own
	// (collector.enabled: false) also those that wayside collect has to be started again for.
	Restart []string `json:"needs_restart"`
}

// reloadWait bounds how long a reload waits for the committer, whom a slow disk may hold up.
const reloadWait = 5 * time.Second

var errNoReload = errors.New("this process has no configuration of its own to read again")

// reload reads the configuration from where it was read at the start and puts it into effect. All of it is checked first;
// on an error everything stays as it was.
func (t *traffic) reload() (any, error) {
	t.loading.Lock()
	defer t.loading.Unlock()
	change, err := t.takeOver()
	if err != nil {
		t.reloads.failed.Add(1)
		t.log.Error("reload failed; the configuration stays as it was", "error", err)
		return nil, err
	}
	if t.child == nil { // a books process that was started by hand has a configuration of its own
		change.Restart, change.Books = append(change.Restart, change.Books...), nil
	}
	t.reloads.ok.Add(1)
	t.reloads.last.Store(time.Now().Unix())
	t.log.Info("configuration reloaded", "in_effect", strings.Join(change.Traffic, " "),
		"books_restarting", strings.Join(change.Books, " "), "needs_restart", strings.Join(change.Restart, " "))
	list := func(keys []string) []string { return append([]string{}, keys...) } // [] in JSON, not null
	return Reloaded{list(change.Traffic), list(change.Books), list(change.Restart)}, nil
}

func (t *traffic) takeOver() (change configs.Change, err error) {
	if t.load == nil {
		return change, errNoReload
	}
	next, err := t.load()
	if err != nil {
		return change, err
	}
	if err := next.RequireUpstream(); err != nil {
		return change, err
	}
	merged, change := configs.Reload(t.now.Load(), next)
	if err := merged.Validate(); err != nil { // what was kept may not go together with what is new
		return change, fmt.Errorf("together with the keys that only a restart can change: %w", err)
	}
	handover, err := merged.Handover()
	if err != nil {
		return change, err
	}
	if err := t.proxy.Reload(proxyOptions(merged, t.recorder, t.log)); err != nil {
		return change, err
	}
	_ = t.level.UnmarshalText([]byte(merged.Log.Level)) // validated
	t.now.Store(merged)
	if err := t.rewriteInfo(); err != nil {
		t.log.Warn("run.json still names the former upstream and archive", "error", err)
	}
	if limit := merged.QueueBytesMax(); limit != t.queueLimit {
		ctx, cancel := context.WithTimeout(context.Background(), reloadWait)
		defer cancel()
		if err := t.spool.LimitQueue(ctx, limit); err != nil {
			t.log.Warn("the spool keeps its limit until wayside is started again", "bytes", t.queueLimit, "error", err)
		} else {
			t.log.Info("the spool's limit follows data.bytes_max", "bytes", limit, "before", t.queueLimit)
			t.queueLimit = limit
		}
	}
	if len(change.Books) > 0 && t.child != nil {
		t.child.Replace(handover)
	}
	return change, nil
}
