package proxy

import (
	"log/slog"
	"time"

	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// What is said about groups: log lines, and the figures of GET /api/v1/upstreams.

// changeLog limits log lines about a state that may change often. Empty is the state about which nothing needs to be said.
type changeLog struct {
	logged string
	at     time.Time // of the last line
}

// due reports whether a line about the state is due now; if it is due only later, next is when.
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

// report writes the log lines that are due, and returns when the next one is; zero: none waits. mu is held.
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
			g.log().Warn("server receives no requests", "upstream", string(s.name), "state", state.String(), "why", why)
		}
	}
	unavailable := ""
	if len(g.members.Load().usable) == 0 {
		unavailable = "no server can be used"
	}
	if due(&g.unavailableLog, unavailable) {
		if unavailable == "" {
			g.log().Info("group has a server again")
		} else {
			g.log().Error("no server of the group can be used; wayside answers 503 itself")
		}
	}
	if due(&g.nameLog, g.nameTrouble) {
		if g.nameTrouble == "" {
			g.log().Info("name of the servers is found again", "name", g.plan.name.address)
		} else {
			g.log().Warn("name of the servers cannot be looked up; wayside uses the addresses that it knows", "name", g.plan.name.address,
				"addresses", len(g.all), "error", g.nameTrouble)
		}
	}
	if due(&g.filesLog, g.filesTrouble) {
		if g.filesTrouble == "" {
			g.log().Info("files for TLS to servers can be read again")
		} else {
			g.log().Error("files for TLS to servers have changed and cannot be used; wayside uses the old ones", "error", g.filesTrouble)
		}
	}
	return next
}

// GroupStatus describes a group of servers as GET /api/v1/upstreams shows it.
type GroupStatus struct {
	Name    string         `json:"name"`
	Balance Balance        `json:"balance"`
	DNS     string         `json:"dns,omitempty"`       // the name whose addresses are the servers
	Error   string         `json:"dns_error,omitempty"` // why the last lookup has failed
	Servers []ServerStatus `json:"servers"`
}

// ServerStatus describes a server of a group.
type ServerStatus struct {
	Upstream string     `json:"upstream"` // as in events
	TLS      bool       `json:"tls"`
	Weight   int        `json:"weight"` // negative: only clients with a cookie
	State    string     `json:"state"`  // up, down or ejected
	Since    *time.Time `json:"since"`  // of the state; null: from the beginning
	Why      string     `json:"why,omitempty"`
	Until    *time.Time `json:"ejected_until,omitempty"`
	// Failing is the last failure, and FailingSince the time of the first one, if no request has succeeded since.
	Failing      string     `json:"failing,omitempty"`
	FailingSince *time.Time `json:"failing_since,omitempty"`

	InFlight  int64 `json:"in_flight"` // requests that use a connection or wait for one
	Conns     int64 `json:"connections"`
	Idle      int64 `json:"idle_connections"`
	ConnsMax  int64 `json:"connections_max"`
	Responses int64 `json:"responses"` // since the start
	Failures  int64 `json:"failures"`  // requests without the whole response of the server
	Retried   int64 `json:"retried"`   // requests that failed here and were sent to another server
	Ejections int64 `json:"ejections"`
	Checks    int64 `json:"checks"`        // active checks
	Failed    int64 `json:"checks_failed"` // of these
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

// status describes the server. The group's mu is held.
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
