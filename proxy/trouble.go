package proxy

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// troublePause is the least time between two lines of the log about one upstream.
const troublePause = 10 * time.Second

// trouble logs that an upstream fails, once for each kind of failure, and that it answers again.
type trouble struct {
	failing atomic.Bool // a request that succeeds has nothing to do otherwise

	mu    sync.Mutex // guards the rest
	kinds [failures]troubleKind
	all   int64     // failures since began
	began time.Time // of the first failure
	line  time.Time // of the last line of the log
	well  time.Time // of the first success after the last failure; zero: none
}

// troubleKind is the first failure of a kind.
type troubleKind struct {
	seen, logged bool
	reason, id   string // id is the request's
}

// upstreamTrouble reports whether a failure is the upstream's, not the client's and not a limit's.
func upstreamTrouble(f failure) bool {
	switch f {
	case failConnectRefused, failConnectTimeout, failConnect, failDNS, failReset, failTimeout, failProtocol, failUpgrade, failTruncated, failTotal:
		return true
	}
	return false
}

// failed notes a failure. The cause may be nil.
func (t *trouble) failed(f failure, cause error, id []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failing.Load() {
		t.kinds, t.all, t.began = [failures]troubleKind{}, 0, time.Now()
		t.failing.Store(true)
	}
	t.well = time.Time{}
	t.all++
	if kind := &t.kinds[f]; !kind.seen {
		*kind = troubleKind{seen: true, reason: failureTable[f].detail, id: string(id)}
		if cause != nil {
			kind.reason = cause.Error()
		}
	}
}

// succeeded notes that the upstream has answered.
func (t *trouble) succeeded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.well.IsZero() {
		t.well = time.Now()
	}
}

// report writes what is due. It is called once a tick.
func (t *trouble) report(log *slog.Logger, upstream string) {
	if !t.failing.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.line.IsZero() && time.Since(t.line) < troublePause {
		return
	}
	for f := range t.kinds {
		if kind := &t.kinds[f]; kind.seen && !kind.logged {
			log.Warn("requests to the upstream fail; wayside answers for it", "upstream", upstream, "error_type", failure(f).String(), "error", kind.reason, //nolint:gosec // few
				"request_id", kind.id, "failures", t.all)
			kind.logged, t.line = true, time.Now()
			return
		}
	}
	if !t.well.IsZero() {
		log.Info("the upstream answers again", "upstream", upstream, "failures", t.all, "after", t.well.Sub(t.began).Round(time.Millisecond).String())
		t.failing.Store(false)
		t.line = time.Now()
	}
}
