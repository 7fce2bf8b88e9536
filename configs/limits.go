package configs

// This file derives limits from other keys, and from the memory and the descriptors that a process may use. docs/HTTP.md says what each
// of them protects.

const (
	// The queue may use 1/queueShare of data.bytes_max. When data.bytes_max is reached, wayside stops applying events, but the queue
	// continues to grow, so it needs this room. With less than queueBytesMin, the spool does not work.
	queueShare    = 4
	queueBytesMin = MiB

	// The maximum memory of a client connection: stack, reader and the buffers that are kept. The kernel's buffers are not included.
	clientConnBytes = 60 << 10
	// The maximum memory of an upstream connection, including the kernel's buffer for a response that the client does not read.
	upstreamConnBytes = 128 << 10
	upstreamConnsMost = 4096
	connsLeast        = 16
	// The memory of both processes without connections; at most half of all memory. It is subtracted before the rest is divided among
	// clients, because a connection whose client does not read needs twice as much memory as usual.
	withoutConnsBytes = 128 << 20
	// Shares of the memory: each kind of connection may use 1/connsShare, the buffers of unfinished messages may use 1/heldShare, and the
	// traffic process as a whole may use 1/trafficShare.
	connsShare, heldShare, trafficShare = 4, 16, 2
	trafficBytesLeast                   = 32 << 20
	// descriptorsKept is the number of descriptors that are reserved for files, for the books process and for the links to it. The two
	// admin listeners get an eighth each, but at most 1,024.
	descriptorsKept = 192
)

// queueBytesWithin returns what the limit of the queue would be if data.bytes_max were limit; 0 means no limit.
func (c *Config) queueBytesWithin(limit Bytes) Bytes {
	most := c.Spool.BytesMax
	if limit > 0 {
		most = min(most, limit/queueShare)
	}
	return max(most, queueBytesMin)
}

// QueueBytesMax returns spool.bytes_max, or less if data.bytes_max is small.
func (c *Config) QueueBytesMax() int64 { return c.queueBytesWithin(c.Data.BytesMax).Int64() }

// SpoolBytesMax returns the maximum size of the spool on disk: queue and journal.
func (c *Config) SpoolBytesMax() int64 {
	return c.QueueBytesMax() + int64(c.Spool.Segments)*c.Spool.SegmentBytes.Int64()
}

// DeriveLimits sets the limits that have no value, for a process that may use the given memory, in bytes, and the given number of
// descriptors.
func (c *Config) DeriveLimits(memory, descriptors int64) {
	p := &c.Proxy
	left := max(descriptors-2*min(descriptors/8, 1024)-descriptorsKept, 0)
	if p.UpstreamConnsMax == 0 {
		p.UpstreamConnsMax = int(max(min(upstreamConnsMost, memory/connsShare/upstreamConnBytes, left/4), connsLeast))
	}
	if p.ConnsMax == 0 { // an upgraded connection has its own upstream connection, outside the pool
		p.ConnsMax = int(max(min((memory-min(withoutConnsBytes, memory/2))/connsShare/clientConnBytes, (left-int64(p.UpstreamConnsMax))/2), connsLeast))
	}
	if p.HeldBytesMax == 0 {
		p.HeldBytesMax = Bytes(max(memory/heldShare, 1<<20))
	}
}

// TrafficBytes returns the memory target of the traffic process on a machine or in a container with the given memory; both are in bytes.
// It leaves room for the mapped journal and the books process.
func (c *Config) TrafficBytes(memory int64) int64 {
	return max(memory/trafficShare-int64(c.Spool.Segments)*c.Spool.SegmentBytes.Int64(), trafficBytesLeast)
}
