package proxy

import (
	"log/slog"
	"time"

	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// This file reports on groups: in log lines, and in the figures of GET /api/v1/upstreams.

// changeLog limits log lines about a state that may change often. The empty state is the normal one, which needs no log line.
type changeLog struct {
	logged string
	at     time.Time // time of the last line
}

// due reports whether a line about the state is due now. If one is due later, next is that time.
func (c *changeLog) due(state string, now time.Time) (log bool, next time.Time) {
	switch {
	case state == c.logged:
		return false, time.Time{}
	case !c.at.IsZero() && now.Sub(c.at) < changeLogPause:
		return false, c.at.Add(changeLogPause)
	}
	c.logged, c.at = state, now
	return true, time.Time{}
}

func (g *group) log() *slog.Logger { return g.root.current.Load().o.Logger.With(g.attrs()...) }

// report writes the log lines that are due, and returns when the next one is due, or zero if there is none. The caller must hold mu.
func (g *group) report(now time.Time) (next time.Time) {
	due := func(c *changeLog, state string) bool {
		log, at := c.due(state, now)
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
		return log
	}
	for _, s := range g.all {
		state, _, why := s.availability.State()
		switch {
		case state == upstream.Up:
			if due(&s.changes, "") {
				g.log().Info("server receives requests again", "upstream", string(s.name), "why", why)
			}
		case due(&s.changes, state.String()):
			g.log().Warn("server receives no requests for now", "upstream", string(s.name), "state", state.String(), "why", why)
		}
	}
	unavailable := ""
	if len(g.members.Load().usable) == 0 {
		unavailable = "no server can be used"
	}
	if due(&g.unavailableLog, unavailable) {
		if unavailable == "" {
			g.log().Info("the group has a usable server again")
		} else {
			g.log().Error("no server in the group can be used; clients get 503 from wayside")
		}
	}
	if due(&g.nameLog, g.nameTrouble) {
		if g.nameTrouble == "" {
			g.log().Info("the name of the servers can be looked up again", "name", g.plan.name.address)
		} else {
			g.log().Warn("cannot look up the name of the servers; wayside keeps using the addresses that it knows", "name", g.plan.name.address,
				"addresses", len(g.all), "error", g.nameTrouble)
		}
	}
	if due(&g.filesLog, g.filesTrouble) {
		if g.filesTrouble == "" {
			g.log().Info("the TLS files of a group of servers can be used again")
		} else {
			g.log().Error("the TLS files of a group of servers have changed and cannot be used; wayside keeps using their previous contents", "error", g.filesTrouble)
		}
	}
	return next
}

// GroupStatus describes a group of servers in GET /api/v1/upstreams.
type GroupStatus struct {
	Name    string         `json:"name"`
	Balance Balance        `json:"balance"`
	DNS     string         `json:"dns,omitempty"`       // the name whose addresses are the servers
	Error   string         `json:"dns_error,omitempty"` // why the last lookup failed
	Servers []ServerStatus `json:"servers"`
}

// ServerStatus describes a server in a group.
type ServerStatus struct {
	Upstream string     `json:"upstream"` // the server's name in events
	TLS      bool       `json:"tls"`
	Weight   int        `json:"weight"` // negative if only clients with a cookie use the server
	State    string     `json:"state"`  // up, down or ejected
	Since    *time.Time `json:"since"`  // when the server entered this state; null if the state has never changed
	Why      string     `json:"why,omitempty"`
	Until    *time.Time `json:"ejected_until,omitempty"`
	// Failing is the latest failure. FailingSince is the time of the first failure since a request last succeeded. Both are missing if
	// there has been no failure since then.
	Failing      string     `json:"failing,omitempty"`
	FailingSince *time.Time `json:"failing_since,omitempty"`

	InFlight  int64 `json:"in_flight"` // requests that are using a connection or waiting for one
	Conns     int64 `json:"connections"`
	Idle      int64 `json:"idle_connections"`
	ConnsMax  int64 `json:"connections_max"`
	Responses int64 `json:"responses"` // since the proxy was started
	Failures  int64 `json:"failures"`  // requests for which the server's complete response was not received
	Retried   int64 `json:"retried"`   // requests that failed here and were sent to another server
	Ejections int64 `json:"ejections"`
	Checks    int64 `json:"checks"`        // active checks
	Failed    int64 `json:"checks_failed"` // how many of the checks failed
}

// Groups returns the state of all groups, in the order of the configuration.
func (p *Proxy) Groups() []GroupStatus {
	groups := p.current.Load().groups
	list := make([]GroupStatus, 0, len(groups))
	for _, g := range groups {
		list = append(list, g.status())
	}
	return list
}

func (g *group) status() GroupStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := GroupStatus{Name: g.name, Balance: g.plan.o.Balance, DNS: g.plan.o.DNS, Error: g.nameTrouble, Servers: make([]ServerStatus, 0, len(g.all))}
	for _, m := range g.all {
		s.Servers = append(s.Servers, m.status())
	}
	return s
}

// status describes the server. The caller must hold the group's mu.
func (m member) status() ServerStatus {
	state, since, why := m.availability.State()
	s := ServerStatus{
		Upstream: string(m.name), TLS: m.key.tls, Weight: m.weight, State: state.String(), Since: timeOrNil(since), Why: why,
		Until: timeOrNil(m.availability.EjectedUntil()), Retried: m.retried.Load(), Ejections: m.ejections.Load(),
		Failed: m.checksFailed.Load(), Checks: m.checksFailed.Load() + m.checksPassed.Load(),
	}
	reason, failingSince := m.health.state()
	s.Failing, s.FailingSince = reason, timeOrNil(failingSince)
	s.Conns, s.Idle, s.InFlight, s.ConnsMax = m.pool.usage()
	for i := range m.classes {
		s.Responses += m.classes[i].Load()
	}
	for f := range m.failed {
		s.Failures += m.failed[f].Load()
	}
	return s
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
