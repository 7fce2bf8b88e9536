package process

import (
	"math"
	"os"
	"path/filepath"
	"testing"
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
