package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// healthLogPause is the shortest time between two log lines about one upstream.
const healthLogPause = 10 * time.Second

// upstreamHealth logs that an upstream is failing, once for each kind of failure, and that it responds again.
type upstreamHealth struct {
	failing atomic.Bool // read without the lock after each success

	mu          sync.Mutex // guards the rest
	kinds       [failures]failureKind
	all         int64     // number of failures since began
	began       time.Time // time of the first failure
	loggedAt    time.Time // time of the last log line
	recoveredAt time.Time // time of the first success after the last failure; zero if there is none
	last        string    // reason of the last failure
}

// failureKind describes the first failure of one kind.
type failureKind struct {
	seen, logged bool
	reason, id   string // id is that of the request
}

// isUpstreamFailure reports whether the upstream, and not the client or a limit, caused a failure.
func isUpstreamFailure(f failure) bool {
	switch f {
	case failConnectRefused, failConnectTimeout, failConnect, failDNS, failReset, failTimeout, failProtocol, failResponseHeader, failUpgrade,
		failTruncated, failTotal, failUpstreamTLS:
		return true
	}
	return false
}

// failed records a failure and returns the reason as text. The cause may be nil.
func (t *upstreamHealth) failed(f failure, cause error, id []byte) (reason string) {
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
	return t.last
}

// begin records the beginning of a series of failures. The caller must hold mu.
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

// state returns the last failure and the time of the first one. Both are zero if the upstream has responded since.
func (t *upstreamHealth) state() (reason string, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failing.Load() || !t.recoveredAt.IsZero() {
		return "", time.Time{}
	}
	return t.last, t.began
}

// UpstreamFailure returns why a group of servers cannot serve requests, and when that began. Both are zero if all groups can serve
// requests, as far as the last requests and checks show.
func (p *Proxy) UpstreamFailure() (reason string, since time.Time) {
	for _, g := range p.current.Load().groups {
		if reason, since = g.failure(); reason != "" {
			return reason, since
		}
	}
	return "", time.Time{}
}

// failure returns why the group cannot serve requests, and when that began. The reason is that no server can be used, or that the last
// request to each usable server has failed. Both results are zero if the group can serve requests.
func (g *group) failure() (reason string, since time.Time) {
	m := g.members.Load()
	if len(m.usable) == 0 {
		return g.prefix() + "no server can be used", time.Now()
	}
	for _, s := range m.usable {
		why, began := s.health.state()
		if why == "" {
			return "", time.Time{}
		}
		if since.IsZero() || began.After(since) {
			reason, since = g.prefix()+why, began
		}
	}
	return reason, since
}

// attrs returns log attributes with the group's name, if it has one.
func (g *group) attrs() []any {
	if g.name == "" {
		return nil
	}
	return []any{"group", g.name}
}

// prefix returns the beginning of a message about the group, with its name if it has one.
func (g *group) prefix() string {
	if g.name == "" {
		return ""
	}
	return "group " + g.name + ": "
}

// Reach connects to each server once, within Options.ConnectTimeout, and closes the connection. It returns the first error. After an
// error, UpstreamFailure reports a failure until a request succeeds.
func (p *Proxy) Reach(ctx context.Context) error {
	var all errgroup.Group
	all.SetLimit(reachAtOnce)
	p.current.Load().eachServer(func(_ *group, s *server) {
		all.Go(func() error {
			conn, err := s.pool.target.dial(ctx)
			if err == nil {
				return conn.Close()
			}
			if ctx.Err() == nil {
				s.health.connectFailed(err)
			}
			return fmt.Errorf("%s: %w", s.name, err)
		})
	})
	return all.Wait()
}

// reachAtOnce is the number of servers to which Reach connects concurrently.
const reachAtOnce = 8

// succeeded records that the upstream has responded.
func (t *upstreamHealth) succeeded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.recoveredAt.IsZero() {
		t.recoveredAt = time.Now()
	}
}

// report writes the next log line if one is due. It is called on every tick.
func (t *upstreamHealth) report(log *slog.Logger, g *group, upstream string) {
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
			what := "requests to the upstream are failing; clients get error responses from wayside"
			if g.members.Load().several {
				what = "requests to a server are failing; wayside retries those that are safe to repeat on another server"
			}
			log.With(g.attrs()...).Warn(what, "upstream", upstream, "error_type", failure(f).String(), "error", kind.reason,
				"request_id", kind.id, "failures", t.all)
			kind.logged, t.loggedAt = true, time.Now()
			return
		}
	}
	if !t.recoveredAt.IsZero() {
		log.With(g.attrs()...).Info("the upstream responds again", "upstream", upstream, "failures", t.all, "after", t.recoveredAt.Sub(t.began).Round(time.Millisecond).String())
		t.failing.Store(false)
		t.loggedAt = time.Now()
	}
}
