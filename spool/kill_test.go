package spool

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// writerEnv names a spool's folder and turns the test binary into a writer. It appends to the spool from several goroutines, and writes a
// frame of 32 bytes to standard output for each accepted append: epoch, seq, value.
const writerEnv = "WAYSIDE_SPOOL_TEST_WRITER"

const writerFrame = 32

func writerMain() {
	o := testOptions(os.Getenv(writerEnv))
	o.QueueBytesMax = 1 << 30
	s, err := Open(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() { _ = s.Run(context.Background()) }()
	var mu sync.Mutex // keeps frames from being interleaved
	for w := range 3 {
		go func() {
			var frame [writerFrame]byte
			for i := w; ; i += 3 {
				seq, r := s.TryAppend(sample(i))
				if r != Accepted {
					continue
				}
				epoch := s.Epoch()
				copy(frame[:], epoch[:])
				binary.BigEndian.PutUint64(frame[16:], seq)
				binary.BigEndian.PutUint64(frame[24:], uint64(i))
				mu.Lock()
				_, err := os.Stdout.Write(frame[:])
				mu.Unlock()
				if err != nil {
					os.Exit(1)
				}
			}
		}()
	}
	select {}
}

// TestKill kills writers at random moments; a reader drains the spool from time to time. Every accepted append must be delivered exactly once,
// with the right content.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := make(map[id]uint64)
	got := make(map[id]event.Event)
	cycles := 20
	if testing.Short() {
		cycles = 4
	}
	for cycle := range cycles {
		runWriter(t, dir, acknowledged)
		wantSound(t, testOptions(dir))
		if cycle%4 == 3 || cycle == cycles-1 {
			readAll(t, dir, got)
		}
	}
	for key, value := range acknowledged {
		e, ok := got[key]
		if !ok {
			t.Fatalf("acknowledged append %v is lost (%d acknowledged, %d recovered)", key, len(acknowledged), len(got))
		}
		if e.RequestBytes != value {
			t.Fatalf("append %v holds %d, want %d", key, e.RequestBytes, value)
		}
	}
	t.Logf("%d appends acknowledged, %d recovered, %d kills", len(acknowledged), len(got), cycles)
}

func runWriter(t *testing.T, dir string, acknowledged map[id]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(time.Duration(20+rand.IntN(130))*time.Millisecond, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	r := bufio.NewReaderSize(out, 64<<10)
	var frame [writerFrame]byte
	for {
		if _, err := io.ReadFull(r, frame[:]); err != nil {
			break
		}
		key := id{uuid.UUID(frame[:16]), binary.BigEndian.Uint64(frame[16:])}
		acknowledged[key] = binary.BigEndian.Uint64(frame[24:])
	}
	_ = cmd.Wait() // fails, because the process was killed
}

// readAll recovers the folder, drains it, checks the ledgers against what arrived, and retires all old epochs.
func readAll(t *testing.T, dir string, got map[id]event.Event) {
	t.Helper()
	s, err := Open(testOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	responses := make(map[uuid.UUID]uint64)
	for key, e := range drain(t, s) {
		if _, twice := got[key]; twice {
			t.Fatalf("%v was delivered again after it was acknowledged", key)
		}
		got[key] = e
		if e.IsResponse() {
			responses[key.epoch]++
		}
	}
	for _, l := range checkLedgers(t, s) {
		if l.Spooled != 0 || l.Recorded != responses[l.Epoch] || l.Dropped[lostDamaged.String()] != 0 {
			t.Fatalf("%d responses of the epoch arrived, its ledger says %+v", responses[l.Epoch], l)
		}
		if l.Closed {
			if err := s.Retire(context.Background(), l.Epoch); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(folders(s.o.Dir)); n != 1 {
		t.Fatalf("%d folders after all were retired, want 1", n)
	}
}
