package proxy

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// healthLogPause is the least time between two log lines about one upstream.
const healthLogPause = 10 * time.Second

// upstreamHealth logs that an upstream fails, once for each kind of failure, and that it answers again.
type upstreamHealth struct {
	failing atomic.Bool // read without the lock after each success

	mu          sync.Mutex // guards the rest
	kinds       [failures]failureKind
	all         int64     // failures since began
	began       time.Time // of the first failure
	loggedAt    time.Time // of the last log line
	recoveredAt time.Time // of the first success after the last failure; zero: none
	last        string    // the last failure's reason
}

// failureKind is the first failure of a kind.
type failureKind struct {
	seen, logged bool
	reason, id   string // id of the request
}

// isUpstreamFailure reports whether the upstream caused a failure, not the client or a limit.
func isUpstreamFailure(f failure) bool {
	switch f {
	case failConnectRefused, failConnectTimeout, failConnect, failDNS, failReset, failTimeout, failProtocol, failResponseHeader, failUpgrade,
		failTruncated, failTotal:
		return true
	}
	return false
}

// failed records a failure. The cause may be nil.
func (t *upstreamHealth) failed(f failure, cause error, id []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin()
	t.recoveredAt = time.Time{}
	t.all++
	t.last = failureTable[f].detail
	if cause != nil {
		t.last = cause.Error()
	}
	if kind := &t.kinds[f]; !kind.seen {
		*kind = failureKind{seen: true, reason: t.last, id: string(id)}
	}
}

// begin records the beginning of a series of failures. mu is held.
func (t *upstreamHealth) begin() {
	if !t.failing.Load() {
		t.kinds, t.all, t.began, t.recoveredAt = [failures]failureKind{}, 0, time.Now(), time.Time{}
		t.failing.Store(true)
	}
}

// connectFailed records that the upstream could not be reached, even if no request has failed yet.
func (t *upstreamHealth) connectFailed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failing.Load() {
		t.begin()
		t.last = err.Error()
	}
}

// state returns the last failure and the time of the first one. Both are zero if the upstream has answered since.
func (t *upstreamHealth) state() (reason string, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failing.Load() || !t.recoveredAt.IsZero() {
		return "", time.Time{}
	}
	return t.last, t.began
}

// UpstreamFailure says how the last request to the upstream failed, and since when requests fail. Both are zero if the last request
// succeeded.
func (p *Proxy) UpstreamFailure() (reason string, since time.Time) {
	return p.current.Load().group.pick().health.state()
}

// Reach connects to the upstream once, within Options.ConnectTimeout, and closes the connection. UpstreamFailure reports its error
// until a request succeeds.
func (p *Proxy) Reach(ctx context.Context) error {
	s := p.current.Load().group.pick()
	conn, err := s.pool.target.dial(ctx)
	if err == nil {
		_ = conn.Close()
		return nil
	}
	if ctx.Err() == nil {
		s.health.connectFailed(err)
	}
	return err
}

// succeeded records that the upstream has answered.
func (t *upstreamHealth) succeeded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.recoveredAt.IsZero() {
		t.recoveredAt = time.Now()
	}
}

// report writes the next log line if one is due. It is called once a tick.
func (t *upstreamHealth) report(log *slog.Logger, upstream string) {
	if !t.failing.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.loggedAt.IsZero() && time.Since(t.loggedAt) < healthLogPause {
		return
	}
	for f := range t.kinds {
		if kind := &t.kinds[f]; kind.seen && !kind.logged {
			log.Warn("requests to the upstream are failing; wayside is answering them itself", "upstream", upstream, "error_type", failure(f).String(), "error", kind.reason,
				"request_id", kind.id, "failures", t.all)
			kind.logged, t.loggedAt = true, time.Now()
			return
		}
	}
	if !t.recoveredAt.IsZero() {
		log.Info("the upstream answers again", "upstream", upstream, "failures", t.all, "after", t.recoveredAt.Sub(t.began).Round(time.Millisecond).String())
		t.failing.Store(false)
		t.loggedAt = time.Now()
	}
}
