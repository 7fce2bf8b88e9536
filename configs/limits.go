package configs

// Limits that follow from other keys, and from the memory and the descriptors that a process may have. docs/HTTP.md says what each
// protects.

const (
	// queueShare is the part of data.bytes_max that the queue may take: it is what goes on growing when applying pauses at that
	// limit, so that room for it has to be left. Below queueBytesMin the spool does not work.
	queueShare    = 4
	queueBytesMin = MiB

	// A client's connection takes up to this much: stack, reader and the buffers that are kept. The kernel's come on top.
	clientConnBytes = 60 << 10
	// A connection to the upstream, with the kernel's buffer for a response that its client does not take.
	upstreamConnBytes = 128 << 10
	upstreamConnsMost = 4096
	connsLeast        = 16
	// What both processes need without connections; of little memory it is at most half. It is taken off before memory is divided among
	// clients, because the connections of those that do not read cost twice as much as the usual ones.
	withoutConnsBytes = 128 << 20
	// connsShare, heldShare and trafficShare are the parts of all memory for either kind of connection, for buffers that are
	// counted, and for the traffic process as a whole.
	connsShare, heldShare, trafficShare = 4, 16, 2
	trafficBytesLeast                   = 32 << 20
	// descriptorsKept are for files, the books process and the links to it; the admin listeners have two eighths, at most 1,024 each.
	descriptorsKept = 192
)

// queueBytesWithin is spool.bytes_max, or less if data.bytes_max is as small as limit; 0: data.bytes_max is off.
func (c *Config) queueBytesWithin(limit Bytes) Bytes {
	most := c.Spool.BytesMax
	if limit > 0 {
		most = min(most, limit/queueShare)
	}
	return max(most, queueBytesMin)
}

// QueueBytesMax is spool.bytes_max, or less where data.bytes_max is small.
func (c *Config) QueueBytesMax() int64 { return c.queueBytesWithin(c.Data.BytesMax).Int64() }

// SpoolBytesMax is what the spool may grow to on disk: the queue and the journal.
func (c *Config) SpoolBytesMax() int64 {
	return c.QueueBytesMax() + int64(c.Spool.Segments)*c.Spool.SegmentBytes.Int64()
}

// DeriveLimits fills in the limits that are not set, for a process that may have so many bytes of memory and so many descriptors.
func (c *Config) DeriveLimits(memory, descriptors int64) {
	p := &c.Proxy
	left := max(descriptors-2*min(descriptors/8, 1024)-descriptorsKept, 0)
	if p.UpstreamConnsMax == 0 {
		p.UpstreamConnsMax = int(max(min(upstreamConnsMost, memory/connsShare/upstreamConnBytes, left/4), connsLeast))
	}
	if p.ConnsMax == 0 { // an upgraded connection has one to the upstream besides the pool's
		p.ConnsMax = int(max(min((memory-min(withoutConnsBytes, memory/2))/connsShare/clientConnBytes, (left-int64(p.UpstreamConnsMax))/2), connsLeast))
	}
	if p.HeldBytesMax == 0 {
		p.HeldBytesMax = Bytes(max(memory/heldShare, 1<<20))
	}
}

// TrafficBytes is the memory that the traffic process aims to stay below where it may have so many bytes: with room for the mapped
// journal and the books process.
func (c *Config) TrafficBytes(memory int64) int64 {
	return max(memory/trafficShare-int64(c.Spool.Segments)*c.Spool.SegmentBytes.Int64(), trafficBytesLeast)
}
