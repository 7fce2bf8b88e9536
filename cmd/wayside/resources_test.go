package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/wayside-proxy/wayside/configs"
)

func TestCgroupMemory(t *testing.T) {
	for name, c := range map[string]struct {
		membership string
		files      map[string]string
		want       int64
	}{
		"version 2":            {"0::/a/b\n", map[string]string{"a/b/memory.max": "268435456\n", "a/memory.max": "max\n", "memory.max": "1073741824\n"}, 268435456},
		"a parent has less":    {"0::/a/b\n", map[string]string{"a/b/memory.max": "max\n", "a/memory.max": "1000\n"}, 1000},
		"container":            {"0::/\n", map[string]string{"memory.max": "2000\n"}, 2000},
		"the host's path":      {"0::/kubepods/x\n", map[string]string{"memory.max": "3000\n"}, 3000},
		"version 1":            {"3:cpu:/x\n2:memory:/a\n1:name=systemd:/\n0::/\n", map[string]string{"memory/a/memory.limit_in_bytes": "4000\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4000},
		"version 1, container": {"2:cpuset,memory:/docker/x\n", map[string]string{"memory/memory.limit_in_bytes": "5000\n"}, 5000},
		"none":                 {"0::/a\n", nil, math.MaxInt64},
		"garbage":              {"x\n\n0::/a\n", map[string]string{"a/memory.max": "lots\n"}, math.MaxInt64},
	} {
		dir := t.TempDir()
		write := func(path, text string) {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(filepath.Join(dir, "self"), c.membership)
		for path, text := range c.files {
			write(filepath.Join(dir, "fs", path), text)
		}
		if got := cgroupMemory(filepath.Join(dir, "self"), filepath.Join(dir, "fs")); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Descriptors suffice for all connections that the limits allow, and memory for their buffers.
func TestDerivedLimits(t *testing.T) {
	for _, r := range []resources{{256 << 20, 4096}, {256 << 20, 1 << 20}, {16 << 30, 4096}, {64 << 30, 1 << 20}, {1 << 30, 1024}, {math.MaxInt64, 1 << 20}, {128 << 20, 1024}} {
		cfg := configs.Default()
		deriveLimits(&cfg, r)
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
		if aim := trafficBytes(&cfg, r); aim < 32<<20 || aim > r.memory/2 {
			t.Errorf("%+v: %d bytes for the traffic process", r, aim)
		}
	}
	small, large := configs.Default(), configs.Default()
	deriveLimits(&small, resources{256 << 20, 4096})
	if most := int64(small.Proxy.ConnsMax) * (4 * clientConnBytes); most > 128<<20 { // clients that do not read, with the kernel's buffers
		t.Errorf("256 MiB: %d connections", small.Proxy.ConnsMax)
	}
	deriveLimits(&large, resources{24 << 30, 1 << 20})
	if large.Proxy.ConnsMax < 98304 || large.Proxy.UpstreamConnsMax < 4096 {
		t.Errorf("24 GiB: %d and %d connections", large.Proxy.ConnsMax, large.Proxy.UpstreamConnsMax)
	}
	cfg := configs.Default()
	cfg.Proxy.ConnsMax, cfg.Proxy.UpstreamConnsMax, cfg.Proxy.HeldBytesMax = 5, 6, 7
	if deriveLimits(&cfg, resources{256 << 20, 4096}); cfg.Proxy.ConnsMax != 5 || cfg.Proxy.UpstreamConnsMax != 6 || cfg.Proxy.HeldBytesMax != 7 {
		t.Errorf("%+v", cfg.Proxy)
	}
}
