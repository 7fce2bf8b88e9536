package proxy

import (
	"context"
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
	last  string    // the last failure's reason
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
	t.begin()
	t.well = time.Time{}
	t.all++
	t.last = failureTable[f].detail
	if cause != nil {
		t.last = cause.Error()
	}
	if kind := &t.kinds[f]; !kind.seen {
		*kind = troubleKind{seen: true, reason: t.last, id: string(id)}
	}
}

// begin notes the first failure; mu is held.
func (t *trouble) begin() {
	if !t.failing.Load() {
		t.kinds, t.all, t.began, t.well = [failures]troubleKind{}, 0, time.Now(), time.Time{}
		t.failing.Store(true)
	}
}

// unreached notes that the upstream could not be connected to, though no request failed by that.
func (t *trouble) unreached(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failing.Load() {
		t.begin()
		t.last = err.Error()
	}
}

// state is the last failure and since when they last. It is empty once the upstream has answered again.
func (t *trouble) state() (reason string, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failing.Load() || !t.well.IsZero() {
		return "", time.Time{}
	}
	return t.last, t.began
}

// UpstreamTrouble says how the last request to the upstream failed, and since when requests fail; both are zero if it answers, as
// far as is known.
func (p *Proxy) UpstreamTrouble() (reason string, since time.Time) {
	return p.lane.Load().pool.figures.trouble.state()
}

// Reach connects to the upstream once, within Options.ConnectTimeout, and closes the connection. What hinders it is the error, and
// shows in UpstreamTrouble until a request succeeds.
func (p *Proxy) Reach(ctx context.Context) error {
	pool := p.lane.Load().pool
	conn, err := pool.dial(ctx)
	if err == nil {
		_ = conn.Close()
		return nil
	}
	if ctx.Err() == nil {
		pool.figures.trouble.unreached(err)
	}
	return err
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
