package proxy

// serverState holds the counters of a server, and whether it fails. It outlives the pools that connect to the server.
type serverState struct {
	tally
	health        upstreamHealth
	connects      counter
	connectErrors counter
	firstByte     [len(firstByteBounds) + 1]counter // one per bound, not cumulative
	firstByteSum  counter                           // microseconds
}

// firstByteBounds are the upper bounds of the histogram of times to the first byte, in microseconds.
var firstByteBounds = [...]uint64{100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000}

// observe counts the time to a response's first byte.
func (u *serverState) observe(micros uint64) {
	i := 0
	for i < len(firstByteBounds) && micros > firstByteBounds[i] {
		i++
	}
	u.firstByte[i].Add(1)
	u.firstByteSum.Add(int64(micros))
}

// stateOf returns the state of a server by its name. It creates it if necessary.
func (p *Proxy) stateOf(name string) *serverState {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.servers[name]
	if u == nil {
		u = &serverState{}
		p.servers[name] = u
	}
	return u
}
