//go:build faults

package spool

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crash"
)

// crasherAgeEnv makes the crasher also expire old batches from time to time, after it has acknowledged some.
const crasherAgeEnv = "WAYSIDE_SPOOL_TEST_CRASHER_AGE"

// crasherEnv makes the test binary append, commit, peek and acknowledge in turn until it crashes. It reports the events that it has appended
// and those that it is about to acknowledge.
const crasherEnv = "WAYSIDE_SPOOL_TEST_CRASHER"

func init() {
	if dir := os.Getenv(crasherEnv); dir != "" {
		crasherMain(dir)
		os.Exit(0)
	}
}

func crasherMain(dir string) {
	o := testOptions(dir)
	ages := os.Getenv(crasherAgeEnv) != ""
	now := time.Now()
	if ages {
		o.AgeMax, o.Now = time.Hour, func() time.Time { return now }
	}
	s, err := Open(o)
	if err != nil {
		os.Exit(1)
	}
	for round := range 20 {
		for i := range 50 {
			if seq, r := s.TryAppend(sample(i)); r == Accepted {
				report('A', s.Epoch(), seq)
			}
		}
		_ = s.Flush(context.Background())
		if ages && round%2 == 1 {
			now = now.Add(2 * time.Hour)
			_ = inStep(s, s.committer.expire)
			continue
		}
		batches, _ := s.Peek(context.Background(), PeekOptions{})
		for _, b := range batches {
			for seq := range b.All() {
				report('D', b.Epoch, seq)
			}
			_ = s.Ack(context.Background(), b.Epoch, b.LastSeq)
		}
		if round%3 == 2 {
			_ = inStep(s, s.committer.commitAcks)
		}
	}
}

func report(kind byte, epoch uuid.UUID, seq uint64) {
	frame := binary.BigEndian.AppendUint64(append([]byte{kind}, epoch[:]...), seq)
	_, _ = os.Stdout.Write(frame)
}

// TestCrashPoints lets a process die when it passes a crash point for the k-th time, for each crash point and for k = 1, 2, … until the point
// is no longer reached (or k is large). Then it reopens the spool and looks for every event that was accepted but not delivered.
func TestCrashPoints(t *testing.T) {
	for _, step := range []string{"reserve", "publish", "seal", "commit", "peek", "ack"} {
		for _, side := range []string{"before", "after"} {
			for _, k := range []int{0, 1, 2, 5, 9, 19} {
				point := fmt.Sprintf("spool.%s.%s", step, side)
				if !crashAt(t, point, k, false) && k == 0 {
					t.Errorf("%s is never passed", point)
				}
			}
		}
	}
}

// TestCrashPointsOfAge: whenever the process dies, each accepted event was delivered before, is delivered afterwards, or has expired and is
// counted, and the ledger agrees with their number.
func TestCrashPointsOfAge(t *testing.T) {
	for _, step := range []string{"age", "commit"} {
		for _, side := range []string{"before", "after"} {
			for _, k := range []int{0, 1, 2, 3, 5, 8, 9, 13, 21} {
				point := fmt.Sprintf("spool.%s.%s", step, side)
				if !crashAt(t, point, k, true) && k == 0 {
					t.Errorf("%s is never passed", point)
				}
			}
		}
	}
}

func crashAt(t *testing.T, point string, k int, ages bool) (died bool) {
	t.Helper()
	dir := t.TempDir()
	accepted, delivered := make(map[id]bool), make(map[id]bool)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crasherEnv+"="+dir, fmt.Sprintf("%s=%s:%d", crash.Env, point, k))
	if ages {
		cmd.Env = append(cmd.Env, crasherAgeEnv+"=1")
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	r := bufio.NewReader(out)
	var frame [25]byte
	for {
		if _, err := io.ReadFull(r, frame[:]); err != nil {
			break
		}
		key := id{uuid.UUID(frame[1:17]), binary.BigEndian.Uint64(frame[17:])}
		if frame[0] == 'A' {
			accepted[key] = true
		} else {
			delivered[key] = true
		}
	}
	died = cmd.Wait() != nil
	wantSound(t, testOptions(dir))
	s := openSet(t, testOptions(dir))
	got := drain(t, s)
	aged, responses, missing := uint64(0), uint64(0), uint64(0)
	for _, l := range checkLedgers(t, s) {
		if l.Spooled != 0 || len(l.Dropped) > 0 && !ages || l.Dropped["damaged"] > 0 {
			t.Fatalf("%s:%d: ledger %+v", point, k, l)
		}
		aged += l.Dropped["age"]
		responses += l.Responses
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for key := range accepted {
		if _, ok := got[key]; ok || delivered[key] {
			continue
		}
		if missing++; !ages {
			t.Fatalf("%s:%d: %v was accepted and is lost", point, k, key)
		}
	}
	if missing != aged || responses < uint64(len(accepted)) {
		t.Fatalf("%s:%d: %d of %d accepted are missing, %d have expired, the ledger has %d responses", point, k, missing, len(accepted), aged, responses)
	}
	return died
}
