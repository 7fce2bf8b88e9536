package proxy

// A silent upload is a streamed request whose header has been sent to the server although no part of its body has arrived. The header is
// sent early so that the service can refuse the body, or send its response first. But then a client that sends nothing more occupies a
// connection to the server, with its buffer, and a second task. So only a few silent uploads are allowed at a time. Clients share them by
// the rule in limits.go, and half of the connections remain free. A request for which there is no room is sent to the server when its body
// begins to arrive. See ADR 107.

// silentUploadsMax limits the silent uploads of all clients together.
const silentUploadsMax = 64

// beginSilence counts the upload as a silent one, if there is room. It reports whether there was room.
func (l *upload) beginSilence(to *group) bool {
	if !to.reserveSilent() {
		return false
	}
	if !l.req.c.share.reserveSilent() {
		to.silent.Add(-1)
		return false
	}
	l.silentTo = to
	return true
}

// endSilence is called when some of the body has arrived, or when none will arrive.
func (l *upload) endSilence() {
	if l.silentTo != nil {
		l.silentTo.silent.Add(-1)
		l.silentTo = nil
		l.req.c.share.unreserveSilent()
	}
}

// reserveSilent counts a silent upload to the group's servers, if another one is allowed, and reports whether it is. There may be at most
// half as many silent uploads as connections. While requests are using half of the connections, no further silent upload is allowed.
func (g *group) reserveSilent() bool {
	used, most := 0, 0
	for _, m := range g.members.Load().all {
		u, n := m.pool.inUse()
		used, most = used+u, most+n
	}
	if 2*used >= most {
		return false
	}
	if g.silent.Add(1) > int64(max(most/2, 1)) {
		g.silent.Add(-1)
		return false
	}
	return true
}

// inUse returns how many connections requests are using, and the limit.
func (p *pool) inUse() (used, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open - p.idleCount, p.max
}

// reserveSilent counts a silent upload of the client, if another one is allowed, and reports whether it is.
func (s *share) reserveSilent() bool {
	total, uses := s.silent.Add(1), int64(0)
	if s.account != nil {
		uses = s.account.silentUploads.Add(1)
	}
	if total > silentUploadsMax || s.limits() != nil && !mayUse(uses-1, 1, total-1, silentUploadsMax) {
		s.unreserveSilent()
		return false
	}
	return true
}

func (s *share) unreserveSilent() {
	s.silent.Add(-1)
	if s.account != nil {
		s.account.silentUploads.Add(-1)
	}
}
