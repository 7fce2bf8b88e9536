package collector

import (
	"errors"
	"os"
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
				t.Error("the source was asked while paused")
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
	// As large as the room allows, and then a backlog that is applied before anybody measures again.
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
