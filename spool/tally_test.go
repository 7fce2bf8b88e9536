package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fillDisk fills the filesystem of dir, and returns a function that frees the space.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	_ = f.Close()
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func tallies(t *testing.T, o Options) (sizes []int64) {
	t.Helper()
	names, err := filepath.Glob(o.Dir + tallySuffix + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, info.Size())
	}
	return sizes
}

// TestCountsOfAFullDisk: if the disk is full for the whole life of a process, its drops are counted as soon as there is room, even if it was
// the first process of all, if it was killed, or if several such processes follow each other.
func TestCountsOfAFullDisk(t *testing.T) {
	dir := smallDisk(t, "2m")
	o := testOptions(dir)
	free := fillDisk(t, dir)
	want := uint64(0)
	for i, n := range []int{500, 3, 1} {
		s := openSet(t, o)
		ctx, cancel := context.WithCancel(context.Background())
		var run sync.WaitGroup
		run.Go(func() { _ = s.Run(ctx) })
		for j := range n {
			if _, r := s.TryAppend(sample(j)); r != RefusedUnavailable {
				t.Fatalf("append on a full disk: %s", r)
			}
		}
		want += uint64(n)
		if i == 1 { // this process is killed
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				if got := tallies(t, o); len(got) == 2 && got[1] == int64(n) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the tally does not follow:", tallies(t, o))
				}
			}
			cancel()
			run.Wait()
			abandon(t, s)
			_ = s.committer.tally.file.Close()
			continue
		}
		cancel()
		run.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := tallies(t, o); len(got) != i+1 || got[i] != int64(n) {
			t.Fatalf("tallies %v", got)
		}
	}
	s := openSet(t, o)
	if l := checkLedgers(t, s); len(l) != 1 {
		t.Fatalf("still full, and %+v", l)
	}
	free()
	if err := inStep(s, s.committer.reopen); err != nil {
		t.Fatal(err)
	}
	got := uint64(0)
	for _, l := range checkLedgers(t, s) {
		got += l.Dropped["unavailable"]
	}
	if got != want || len(tallies(t, o)) != 0 {
		t.Errorf("%d counted as dropped, want %d; tallies left: %v", got, want, tallies(t, o))
	}
	_, drops := split(drain(t, s))
	if len(drops) != 3 {
		t.Errorf("%d drop records, want one of each process", len(drops))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantSound(t, o)
}

// TestLedgerWithoutAQueue: if there is room for a ledger but not for a queue, drops are counted in the ledger.
func TestLedgerWithoutAQueue(t *testing.T) {
	dir := smallDisk(t, "64k")
	o := testOptions(dir)
	s := openSet(t, o)
	if _, r := s.TryAppend(sample(1)); r != RefusedUnavailable || !s.current.counters.attached() {
		t.Fatal(r)
	}
	abandon(t, s)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	s = openSet(t, o)
	if l := checkLedgers(t, s); len(l) != 2 || l[0].Dropped["unavailable"] != 1 {
		t.Errorf("ledgers %+v", l)
	}
}

// TestTallyOncePerInterval: drops without a ledger cost one system call per commit interval, not one per drop. In the end all are counted.
func TestTallyOncePerInterval(t *testing.T) {
	dir := smallDisk(t, "2m")
	o := testOptions(dir)
	o.CommitInterval = time.Hour
	fillDisk(t, dir)
	s := openSet(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = s.Run(ctx) })
	for i := range 3 { // when Run receives the next kick, it has finished with the previous one
		s.TryAppend(sample(i))
		for deadline := time.Now().Add(time.Minute); len(s.kick) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("Run does not wake")
			}
		}
	}
	if got := tallies(t, o); len(got) != 0 {
		t.Errorf("tallies before the interval is over: %v", got)
	}
	cancel()
	run.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := tallies(t, o); len(got) != 1 || got[0] != 3 {
		t.Errorf("tallies at the end: %v", got)
	}
}
