package collector

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDiskLimitsPauseApplying(t *testing.T) {
	for name, limit := range map[string]func(*Options){
		"data.bytes_max": func(o *Options) { o.BytesMax = 1 },
		"data.free_min":  func(o *Options) { o.FreeMin = 1 << 60 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.reopen(t, func(o *Options) { o.DataDir = r.dir; limit(o) })
			r.source.add(r.epoch, r.request("/a", 200))
			_, err := r.DrainOnce(t.Context())
			if !errors.Is(err, ErrPaused) || !strings.HasPrefix(err.Error(), "paused: "+name) {
				t.Fatalf("got %v", err)
			}
			if r.source.peeks != 0 {
				t.Error("the source was read while paused")
			}
			r.reopen(t, func(o *Options) { o.DataDir = r.dir; o.BytesMax = 1 << 40; o.FreeMin = 1 })
			r.drain(t)
			r.checkBooks(t, 1)
			s, err := r.Storage(t.Context())
			if err != nil || s.BytesTotal <= 0 || s.Bytes["store"] <= 0 || s.FreeBytes <= 0 {
				t.Errorf("storage %+v, %v", s, err)
			}
		})
	}
}

func TestRoomIsLeftForWhatGrowsWhilePaused(t *testing.T) {
	r := newRig(t, nil)
	const limit = 200 << 20
	r.reopen(t, func(o *Options) {
		o.DataDir = r.dir
		o.BytesMax = limit
		o.SpoolBytesMax = 64 << 20
		o.ArchiveDir = r.dir + "/archive"
	})
	r.source.add(r.epoch, r.request("/a", 200))
	r.drain(t)
	s, err := r.Storage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if least := int64(64<<20 + storeRoomMin + archivedEventBytes); s.RoomBytes < least || s.RoomBytes > least+1<<20 {
		t.Errorf("room of %d bytes, want about %d", s.RoomBytes, least)
	}
	// Fill the directory up to the reserved room, and then apply a backlog before the next measurement.
	if err := os.WriteFile(r.dir+"/other", make([]byte, limit-s.BytesTotal-s.RoomBytes-1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(time.Hour)
	r.source.add(r.epoch, r.request("/a", 200))
	r.drain(t)
	r.guard.applied(1 << 20 / storedEventBytes)
	if _, err := r.DrainOnce(t.Context()); !errors.Is(err, ErrPaused) {
		t.Fatalf("got %v", err)
	}
	r.now = r.now.Add(time.Hour)
	r.source.add(r.epoch, r.request("/a", 200))
	r.drain(t)
	r.checkBooks(t, 3)
}

func TestGrowthNeedsAnHour(t *testing.T) {
	r := newRig(t, nil)
	r.reopen(t, func(o *Options) { o.DataDir = r.dir; o.BytesMax = 1 << 40 })
	for minutes, want := range map[int]bool{30: false, 90: true} {
		r.now = testStart
		r.guard = newGuard(r.o)
		if _, err := r.Storage(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.dir+"/other", make([]byte, minutes<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		r.now = r.now.Add(time.Duration(minutes) * time.Minute)
		s, err := r.Storage(t.Context())
		if err != nil || (s.DaysLeft != nil) != want || (s.GrowthBytesPerDay > 0) != want {
			t.Errorf("after %d minutes: %+v, %v", minutes, s, err)
		}
		if err := os.Remove(r.dir + "/other"); err != nil {
			t.Fatal(err)
		}
	}
}

// folders records which folders are read.
type folders struct {
	fs.FS
	names []string
}

func (f *folders) ReadDir(name string) ([]fs.DirEntry, error) {
	f.names = append(f.names, name)
	return fs.ReadDir(f.FS, name)
}

// TestOnlyOwnFilesCount: a directory archive may be in a tree that is full of other files. Only files that wayside has written count
// towards data.bytes_max, and only its own folders are read. If the data directory is a link, its target counts.
func TestOnlyOwnFilesCount(t *testing.T) {
	dir, archive := t.TempDir(), t.TempDir()
	const object = "v1/dt=2026-11-23/hour=09/shop_pod-0_0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b_1-20.ndjson.gz"
	for name, size := range map[string]int{
		"usr/lib/large.bin": 4 << 20, "v1/large.bin": 4 << 20, "v1/api/spec.json": 4 << 20, "v1/dt=2026-11-23/hour=09/backup.tar": 4 << 20,
		"v1/dt=2026-11-23/other/deep/x.ndjson.gz": 4 << 20, "v1/stats/2026/x.ndjson.gz": 4 << 20,
		object: 1 << 20, object + ".json": 1 << 20, "v1/stats" + object[2:]: 1 << 20, object + ".tmp": 1 << 20,
	} {
		path := filepath.Join(archive, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	g := newGuard(Options{DataDir: link, ArchiveDir: archive, BytesMax: 1 << 30, Now: time.Now})
	u := g.measure()
	if got := u.folders["archive"]; got < 4<<20 || got > 4<<20+256<<10 {
		t.Errorf("%d bytes count as archive, want those of four files and their folders", got)
	}
	entered := folders{FS: os.DirFS(archive)}
	archiveBytes(&entered)
	const hour = "dt=2026-11-23/hour=09"
	if want := []string{"v1", "v1/dt=2026-11-23", "v1/" + hour, "v1/stats", "v1/stats/dt=2026-11-23", "v1/stats/" + hour}; !slices.Equal(entered.names, want) {
		t.Errorf("the folders %q were read, want %q", entered.names, want)
	}
	if got := u.folders["other"]; got < 1<<20 || got > 1<<20+64<<10 {
		t.Errorf("%d bytes count in the data directory, want those of one file", got)
	}
}

// BenchmarkWalk walks through a data directory with an hour's archive objects, one per second.
func BenchmarkWalk(b *testing.B) {
	dir := b.TempDir()
	for _, folder := range []string{"archive/v1/dt=2026-11-23/hour=09/", "archive/v1/stats/dt=2026-11-23/hour=09/"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			b.Fatal(err)
		}
		for i := range 3600 {
			name := filepath.Join(dir, folder, fmt.Sprintf("shop_pod-0_0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b_%d-%d.ndjson.gz", 1+2000*i, 2000*(i+1)))
			if err := errors.Join(os.WriteFile(name, []byte("x"), 0o600), os.WriteFile(name+".json", []byte("x"), 0o600)); err != nil {
				b.Fatal(err)
			}
		}
	}
	g := newGuard(Options{DataDir: dir, Now: time.Now})
	for b.Loop() {
		g.walk(map[string]int64{"archive": 0})
	}
}
