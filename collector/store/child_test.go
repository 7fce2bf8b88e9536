package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
)

// childEnv makes the test binary act as a process that a test can kill.
const childEnv = "WAYSIDE_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch role, dir, _ := strings.Cut(os.Getenv(childEnv), ":"); role {
	case "open":
		openChild(dir)
	case "fill":
		fillChild(dir)
	case "apply":
		applyChild(dir)
	case "refill":
		refillChild(dir)
	default:
		os.Exit(m.Run())
	}
}

func openChild(dir string) {
	s, err := Open(testOptions(dir))
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// applyChild applies batches and makes checkpoints until it is killed. It prints each watermark once it is durable.
func applyChild(dir string) {
	o := testOptions(dir)
	o.CheckpointInterval = 20 * time.Millisecond
	s, err := Open(o)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() { _ = s.Run(context.Background()) }()
	g := newTraffic(rand.Uint64())
	g.seq = s.Watermarks()[g.epoch]
	g.step = 100_000
	var before *Batch
	for {
		b := g.batch(1 + g.r.IntN(800))
		if err := s.Apply(b); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("applied", b.LastSeq)
		if before != nil && g.r.IntN(4) == 0 {
			_ = s.Apply(before)
		}
		before = b
	}
}

// refillChild refills a store from the object of a lost store.
func refillChild(dir string) {
	ctx, object := context.Background(), objectOf(manyRows(uuid.UUID{1}, 1300))
	s, err := Open(testOptions(dir))
	if err == nil {
		err = errors.Join(knownID(ctx, s, object), s.Refill(ctx, object), s.Close())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func child(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe)
	c.Env = append(os.Environ(), childEnv+"="+role+":"+dir)
	return c
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s, err := Open(testOptions(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	apply(t, s, newTraffic(1).batch(10))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}

// TestKillNine kills a process that applies and checkpoints, again and again. Every batch that it reported as applied
// must be there exactly once.
func TestKillNine(t *testing.T) {
	dir := t.TempDir()
	acknowledged := uint64(0)
	for cycle := range 10 {
		c := child(t, "apply", dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines, n := bufio.NewScanner(out), 0
		for lines.Scan() {
			if _, err := fmt.Sscanf(lines.Text(), "applied %d", &acknowledged); err != nil {
				t.Fatalf("child: %s", lines.Text())
			}
			if n++; n == 1+cycle*7 {
				_ = c.Process.Kill()
			}
		}
		_ = c.Wait()
	}
	o := testOptions(dir)
	s := openStore(t, o)
	mark := s.Watermarks()[testEpoch]
	totals, err := s.Totals()
	if err != nil || mark < acknowledged || totals.Applied != mark {
		t.Errorf("acknowledged up to %d, watermark %d, applied %d, %v", acknowledged, mark, totals.Applied, err)
	}
	if badgerfiles.Exists(o.QuarantineDir) {
		t.Error("a kill left something to quarantine")
	}
}

// TestCrashDuringOpen: on some kinds of damage, Badger panics in its own goroutine, where nothing can recover. After
// two crashes, whose text the runtime has written to the marker, the third start must set the store aside.
func TestCrashDuringOpen(t *testing.T) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, newTraffic(1).batch(10))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	marker := openingHead + "1\npanic: runtime error: slice bounds out of range\n\ngoroutine 77 [running]:\n"
	if err := os.WriteFile(o.Dir+".opening", []byte(marker), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if totals, _ := s.Totals(); totals.Applied != 0 {
		t.Error("the damaged store is still in use")
	}
	reports, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store.txt"))
	if len(reports) != 1 {
		t.Fatal(reports)
	}
	if text, _ := os.ReadFile(reports[0]); !strings.Contains(string(text), "goroutine") {
		t.Errorf("the report does not show the crash: %s", text)
	}
}

// TestRubbishTable: a file that would make Badger panic is found before Badger opens it, on the first start.
func TestRubbishTable(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, newTraffic(1).batch(10))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	if err := os.WriteFile(tables[0], []byte("this is not a table"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := child(t, "open", dir).Run(); err != nil {
		t.Errorf("the process that opened it ended: %v", err)
	}
	if reports, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store.txt")); len(reports) != 1 {
		t.Error("the store was not set aside")
	}
}
