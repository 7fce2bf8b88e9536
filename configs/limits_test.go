package configs

import (
	"math"
	"testing"
)

// TestDerivedLimits: there are enough descriptors for all connections that the limits allow, and enough memory for their buffers.
func TestDerivedLimits(t *testing.T) {
	type machine struct{ memory, descriptors int64 }
	for _, r := range []machine{{256 << 20, 4096}, {256 << 20, 1 << 20}, {16 << 30, 4096}, {64 << 30, 1 << 20}, {1 << 30, 1024}, {math.MaxInt64, 1 << 20}, {128 << 20, 1024}} {
		cfg := Default()
		cfg.DeriveLimits(r.memory, r.descriptors)
		p := cfg.Proxy
		conns, upstream := int64(p.ConnsMax), int64(p.UpstreamConnsMax)
		if used := 2*conns + upstream + 2*min(r.descriptors/8, 1024) + descriptorsKept; used > r.descriptors {
			t.Errorf("%+v: %d descriptors for %d and %d connections", r, used, conns, upstream)
		}
		if most := conns*clientConnBytes + upstream*upstreamConnBytes + p.HeldBytesMax.Int64(); most > r.memory/16*9 {
			t.Errorf("%+v: %d bytes for %d and %d connections", r, most, conns, upstream)
		}
		if conns < 100 || upstream < 100 || upstream > 4096 || p.HeldBytesMax < 1<<20 {
			t.Errorf("%+v: %d and %d connections, %v", r, conns, upstream, p.HeldBytesMax)
		}
		if aim := cfg.TrafficBytes(r.memory); aim < 32<<20 || aim > r.memory/2 {
			t.Errorf("%+v: %d bytes for the traffic process", r, aim)
		}
	}
	small, large := Default(), Default()
	small.DeriveLimits(256<<20, 4096)
	if most := int64(small.Proxy.ConnsMax) * (4 * clientConnBytes); most > 128<<20 { // all clients do not read, so that the kernel's buffers are full
		t.Errorf("256 MiB: %d connections", small.Proxy.ConnsMax)
	}
	large.DeriveLimits(24<<30, 1<<20)
	if large.Proxy.ConnsMax < 98304 || large.Proxy.UpstreamConnsMax < 4096 {
		t.Errorf("24 GiB: %d and %d connections", large.Proxy.ConnsMax, large.Proxy.UpstreamConnsMax)
	}
	cfg := Default()
	cfg.Proxy.ConnsMax, cfg.Proxy.UpstreamConnsMax, cfg.Proxy.HeldBytesMax = 5, 6, 7
	if cfg.DeriveLimits(256<<20, 4096); cfg.Proxy.ConnsMax != 5 || cfg.Proxy.UpstreamConnsMax != 6 || cfg.Proxy.HeldBytesMax != 7 {
		t.Errorf("%+v", cfg.Proxy)
	}
}

// TestQueueWithinTheDataDirectory: the queue gets at most a quarter of data.bytes_max, whatever spool.bytes_max says. The journal is added to that.
func TestQueueWithinTheDataDirectory(t *testing.T) {
	for _, c := range []struct{ spool, data, want Bytes }{
		{256 * MiB, 0, 256 * MiB}, {256 * MiB, 10 * GiB, 256 * MiB}, {256 * MiB, 100 * MiB, 25 * MiB}, {256 * MiB, 2 * MiB, MiB},
	} {
		cfg := Config{Spool: Spool{BytesMax: c.spool, Segments: 4, SegmentBytes: MiB}, Data: Data{BytesMax: c.data}}
		if queue, all := cfg.QueueBytesMax(), cfg.SpoolBytesMax(); queue != int64(c.want) || all != queue+4<<20 {
			t.Errorf("spool.bytes_max %v, data.bytes_max %v: %d and %d bytes", c.spool, c.data, queue, all)
		}
	}
}
