package configs

// Limits that follow from other keys, and from the memory and the descriptors that a process may use. docs/HTTP.md says what each of them
// protects.

const (
	// The queue may use 1/queueShare of data.bytes_max. It continues to grow while applying pauses at that limit, so room must be left for
	// it. With less than queueBytesMin the spool does not work.
	queueShare    = 4
	queueBytesMin = MiB

	// Most bytes of a client connection: stack, reader and the buffers that are kept. Those of the kernel are not included.
	clientConnBytes = 60 << 10
	// Most bytes of an upstream connection, with the kernel's buffer for a response that the client does not read.
	upstreamConnBytes = 128 << 10
	upstreamConnsMost = 4096
	connsLeast        = 16
	// Memory of both processes without connections, but at most half of all memory. It is subtracted before the rest is divided among
	// clients, because connections of clients that do not read cost twice as much as usual ones.
	withoutConnsBytes = 128 << 20
	// Each kind of connection may use 1/connsShare of the memory, held buffers 1/heldShare, and the traffic process as a whole
	// 1/trafficShare.
	connsShare, heldShare, trafficShare = 4, 16, 2
	trafficBytesLeast                   = 32 << 20
	// descriptorsKept are for files, the books process and the links to it. The two admin listeners have an eighth each, at most 1,024.
	descriptorsKept = 192
)

// queueBytesWithin returns the limit of the queue if data.bytes_max is limit; 0: data.bytes_max is off.
func (c *Config) queueBytesWithin(limit Bytes) Bytes {
	most := c.Spool.BytesMax
	if limit > 0 {
		most = min(most, limit/queueShare)
	}
	return max(most, queueBytesMin)
}

// QueueBytesMax returns spool.bytes_max, or less if data.bytes_max is small.
func (c *Config) QueueBytesMax() int64 { return c.queueBytesWithin(c.Data.BytesMax).Int64() }

// SpoolBytesMax returns the largest size of the spool on disk: queue and journal.
func (c *Config) SpoolBytesMax() int64 {
	return c.QueueBytesMax() + int64(c.Spool.Segments)*c.Spool.SegmentBytes.Int64()
}

// DeriveLimits fills in the limits that are not set, for a process that may use so many bytes of memory and so many descriptors.
func (c *Config) DeriveLimits(memory, descriptors int64) {
	p := &c.Proxy
	left := max(descriptors-2*min(descriptors/8, 1024)-descriptorsKept, 0)
	if p.UpstreamConnsMax == 0 {
		p.UpstreamConnsMax = int(max(min(upstreamConnsMost, memory/connsShare/upstreamConnBytes, left/4), connsLeast))
	}
	if p.ConnsMax == 0 { // an upgraded connection has an upstream connection outside of the pool
		p.ConnsMax = int(max(min((memory-min(withoutConnsBytes, memory/2))/connsShare/clientConnBytes, (left-int64(p.UpstreamConnsMax))/2), connsLeast))
	}
	if p.HeldBytesMax == 0 {
		p.HeldBytesMax = Bytes(max(memory/heldShare, 1<<20))
	}
}

// TrafficBytes returns the memory that the traffic process aims to stay below, if the machine or container has so many bytes. It leaves room
// for the mapped journal and the books process.
func (c *Config) TrafficBytes(memory int64) int64 {
	return max(memory/trafficShare-int64(c.Spool.Segments)*c.Spool.SegmentBytes.Int64(), trafficBytesLeast)
}
