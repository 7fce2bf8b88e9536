package proxy

// Silent uploads: streamed requests whose header was sent to the server, and of whose body nothing has come. The header is sent early so that
// the service can refuse the body, or speak first. But then a client that sends nothing else holds a connection to the server, with its
// buffer, and a second task. So there are few silent uploads at a time, shared by the rule of limits.go, and they leave half of the
// connections free. A request for which there is no room goes to the server when its body begins. See ADR 107.

// silentUploadsMax limits the silent uploads of all clients together.
const silentUploadsMax = 64

// beginSilence makes the upload a silent one if there is room for it.
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

// endSilence is called when something of the body has come, or nothing will.
func (l *upload) endSilence() {
	if l.silentTo != nil {
		l.silentTo.silent.Add(-1)
		l.silentTo = nil
		l.req.c.share.unreserveSilent()
	}
}

// reserveSilent counts a silent upload to the group's servers and reports whether there may be one more: there may be half as many as
// connections, and none if requests use half of the connections.
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

// inUse returns how many connections requests use, and the limit.
func (p *pool) inUse() (used, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open - p.idleCount, p.max
}

// reserveSilent counts a silent upload and reports whether there may be one more.
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
