package proxy

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// This file determines which servers in a group can be used, from active checks, failed requests, and the addresses of a name. Each group
// with such work has a goroutine that performs the work when it is due. Requests call nothing in this file except failed and answered.

const (
	// filesPause is the time between two checks of the group's TLS files.
	filesPause = 10 * time.Second
	// lookupRetry is the time between two lookups of a name for which no address is known yet.
	lookupRetry = time.Second
	// lookupPause is the time between two lookups if ResolveInterval switches them off for other upstreams.
	lookupPause = 30 * time.Second
	// changeLogPause is the shortest time between two log lines about the state of one server.
	changeLogPause = 10 * time.Second
)

// serverCheck is the state of the active checks of one server. The group's mu guards it.
type serverCheck struct {
	*upstream.Check
	next time.Time
	busy bool
}

// setChecks prepares the checks of the servers. The caller must hold mu.
func (g *group) setChecks() {
	old, o := g.checks, &g.plan.o.Check
	g.checks = nil
	if o.Path == "" {
		for _, s := range g.all {
			s.availability.Unchecked(time.Now())
		}
		return
	}
	g.checks = make(map[*server]*serverCheck, len(g.all))
	for _, s := range g.all {
		c := &serverCheck{Check: upstream.NewCheck(s.pool.target.plain.dial, s.key.h2c, s.key.host, o.Path, o.Timeout)}
		if before := old[s.server]; before != nil {
			c.next = before.next
		} else {
			c.next = time.Now().Add(rand.N(min(o.Every, time.Second))) // so that the servers are not all checked at the same time
		}
		g.checks[s.server] = c
	}
}

// startWatch starts watch if the proxy is serving and there is something to watch. The caller must hold mu.
func (g *group) startWatch() {
	p := g.root
	needed := len(g.all) > 1 || g.plan.o.DNS != "" || g.checks != nil || g.plan.credentials != nil && g.plan.credentials.HasFiles()
	switch {
	case !needed:
		g.stopWatch()
	case g.stop != nil:
		g.lookAgain()
	case p.begun.Load():
		ctx, cancel := context.WithCancel(p.stopped)
		g.stop = cancel
		p.background.Go(func() { g.watch(ctx) })
	}
}

// stopWatch ends watch. The caller must hold mu.
func (g *group) stopWatch() {
	if g.stop != nil {
		g.stop()
		g.stop = nil
	}
}

// lookAgain makes watch check for due work.
func (g *group) lookAgain() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// watch performs due work until ctx is done.
func (g *group) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-timer.C:
		}
		if next := g.doDue(ctx, time.Now()); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
	}
}

// doDue performs the work that is due. It returns when work is due next, or zero if there is none until wake receives a value.
func (g *group) doDue(ctx context.Context, now time.Time) (next time.Time) {
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	changed := false
	for _, s := range g.all {
		if until := s.availability.EjectedUntil(); !until.IsZero() && !until.After(now) {
			changed = s.availability.Expire(now, false) || changed
			s.consecutive.Store(int32(g.plan.o.Eject.After - 1)) // so that the server is ejected again if its next request fails
		}
		at(s.availability.EjectedUntil())
	}
	if changed {
		g.rebuild()
	}
	for s, c := range g.checks {
		if !c.busy && !c.next.After(now) {
			c.busy, c.next = true, now.Add(g.plan.o.Check.Every)
			g.root.background.Go(func() { g.check(ctx, s, c) })
		}
		at(c.next)
	}
	at(g.lookUpIfDue(ctx, now))
	at(g.readFilesIfDue(now))
	at(g.report(now))
	return next
}

// check performs one active check.
func (g *group) check(ctx context.Context, s *server, c *serverCheck) {
	err := c.Do()
	g.mu.Lock()
	defer g.mu.Unlock()
	c.busy = false
	if ctx.Err() != nil || g.checks[s] == nil { // watch has been stopped, or the server has been removed since
		return
	}
	result := &s.checksPassed
	if err != nil {
		result = &s.checksFailed
	}
	result.Add(1)
	if s.availability.Checked(err, g.plan.o.Check.Fails, g.plan.o.Check.Passes, time.Now()) {
		g.rebuild()
		g.lookAgain()
	}
}

// failed counts a request that has failed at a server without a response, and ejects the server if there have been too many.
func (g *group) failed(s *server, why string) {
	m := g.members.Load()
	if !m.several || m.o.Eject.After < 0 || s.consecutive.Add(1) < int32(m.o.Eject.After) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if state, _, _ := s.availability.State(); state != upstream.Up || !g.has(s) {
		return
	}
	e := &g.plan.o.Eject
	if ejected := len(g.inState(upstream.Ejected)); (ejected+1)*100 > e.AtMost*len(g.all) || len(g.inState(upstream.Up)) <= 1 {
		return
	}
	s.consecutive.Store(0)
	s.availability.Eject(e.For, why, time.Now())
	s.ejections.Add(1)
	g.rebuild()
	g.lookAgain()
}

// answered ends the ejection of a server that has responded to a request that failed at the other servers.
func (g *group) answered(s *server) {
	if !slices.ContainsFunc(g.members.Load().ejected, func(m member) bool { return m.server == s }) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.has(s) && s.availability.Expire(time.Now(), true) {
		g.rebuild()
		g.lookAgain()
	}
}

// lookUpIfDue starts a lookup of the group's name if one is due, and returns when the next one is due. The caller must hold mu.
func (g *group) lookUpIfDue(ctx context.Context, now time.Time) time.Time {
	if g.plan.o.DNS == "" {
		return time.Time{}
	}
	if !g.lookingUp && !g.nextLookup.After(now) {
		g.lookingUp = true
		g.nextLookup = now.Add(g.lookupInterval())
		g.root.background.Go(func() { g.lookUp(ctx) })
	}
	return g.nextLookup
}

func (g *group) lookupInterval() time.Duration {
	switch every := g.plan.common.resolveEvery; {
	case len(g.all) == 0:
		return lookupRetry
	case every > 0:
		return every
	}
	return lookupPause
}

// lookUp looks up the group's name once and uses the addresses that it finds. If the lookup fails, the current addresses remain in use.
func (g *group) lookUp(ctx context.Context) {
	g.mu.Lock()
	name, resolver := g.plan.name, g.plan.common.resolver
	g.mu.Unlock()
	found, err := lookUp(ctx, resolver, name.serverName())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lookingUp = false
	if g.plan.name != name || ctx.Err() != nil { // the name has been replaced, or watch has been stopped
		return
	}
	g.nameTrouble = ""
	if err != nil {
		g.nameTrouble = err.Error()
		g.lookAgain()
		return
	}
	g.setAddresses(g.addresses.Update(found))
	g.nextLookup = time.Now().Add(g.lookupInterval())
	g.lookAgain()
}

// readFilesIfDue starts reading the group's TLS files again if that is due, and returns when it is next due. The caller must hold mu.
func (g *group) readFilesIfDue(now time.Time) time.Time {
	c := g.plan.credentials
	if c == nil || !c.HasFiles() {
		return time.Time{}
	}
	if !g.nextReading.After(now) {
		if !g.nextReading.IsZero() {
			g.root.background.Go(func() { g.readFiles(c) })
		}
		g.nextReading = now.Add(filesPause)
	}
	return g.nextReading
}

// readFiles reads the group's TLS files again. If they have changed, connections that were established with the old files are not
// reused after their current requests.
func (g *group) readFiles(c *upstream.Credentials) {
	changed, err := c.Refresh()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.plan.credentials != c {
		return
	}
	g.filesTrouble = ""
	if err != nil {
		g.filesTrouble = err.Error()
	}
	if changed {
		g.log().Info("the TLS files of a group of servers have changed; new connections use them")
		for _, s := range g.all {
			s.pool.discardIdle(func(*upstreamConn) bool { return true })
		}
	}
	g.lookAgain()
}

// watchGroups looks up the names of groups, which may take some time, and starts watching all groups. Serve calls it once.
func (p *Proxy) watchGroups() {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	p.begun.Store(true)
	p.findServers(p.current.Load().groups)
	for _, g := range p.current.Load().groups {
		g.mu.Lock()
		g.startWatch()
		g.mu.Unlock()
	}
}

// findServers looks up once the names of groups that have no servers yet, so that their first requests find a server.
func (p *Proxy) findServers(groups []*group) {
	var all sync.WaitGroup
	for _, g := range groups {
		g.mu.Lock()
		missing := g.plan.o.DNS != "" && len(g.all) == 0 && !g.lookingUp
		g.lookingUp = g.lookingUp || missing
		g.mu.Unlock()
		if missing {
			all.Go(func() { g.lookUp(p.stopped) })
		}
	}
	all.Wait()
}
