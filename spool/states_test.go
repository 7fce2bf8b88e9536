package spool

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// leftBehind creates a spool with 300 committed and 200 uncommitted events, and ends its process.
func leftBehind(t *testing.T, o Options) (dir string, want map[id]uint64) {
	t.Helper()
	s := openSet(t, o)
	want = appendN(t, s, 0, 300)
	mustFlush(t, s)
	merge(want, appendN(t, s, 300, 200))
	s.Exclude()
	abandon(t, s)
	return s.current.dir, want
}

// TestStartStates covers the states that Open may find, as listed in its comment. Open must not fail, readable events are delivered, the ledger
// adds up, and the spool records new events.
func TestStartStates(t *testing.T) {
	states := []struct {
		name  string
		make  func(t *testing.T, dir string)
		lost  uint64 // how many of the 500 events are lost
		blank bool   // the folder is removed by Open
		aside int    // number of files in the quarantine
		sound bool   // verification finds no problem
	}{
		{name: "nothing damaged", make: func(*testing.T, string) {}, sound: true},
		{name: "empty folder", make: func(t *testing.T, dir string) { remove(t, dir, "*") }, blank: true},
		{name: "creation cut short after the lock", make: func(t *testing.T, dir string) {
			remove(t, dir, "ledger", "queue.db", "journal-*")
		}, blank: true},
		{name: "creation cut short before the rename", make: func(t *testing.T, dir string) {
			remove(t, dir, "*.seg", "queue.db", "ledger")
			write(t, filepath.Join(dir, "queue.db.new"), make([]byte, 100))
		}, blank: true},
		{name: "lock is missing", make: func(t *testing.T, dir string) { remove(t, dir, "lock") }},
		{name: "ledger is missing", make: func(t *testing.T, dir string) { remove(t, dir, "ledger") }},
		{name: "ledger is damaged", make: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "ledger"), make([]byte, 50)) }},
		{name: "queue file left aside", make: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "queue-1.db.new"), make([]byte, 100))
		}},
		{name: "one death while opening", make: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "queue.db.opening"), []byte("1"))
		}},
		{name: "two deaths while opening", make: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "queue.db.opening"), []byte("2"))
		}, aside: 1}, // the held segments have all events
		{name: "queue is garbage", make: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "queue.db"), make([]byte, 40000))
		}, aside: 1},
		{name: "queue is empty", make: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "queue.db"), nil) }, aside: 1},
		{name: "queue is cut short", make: func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "queue.db"), 8192); err != nil {
				t.Fatal(err)
			}
		}, aside: 1},
		{name: "pages of the queue are damaged", make: func(t *testing.T, dir string) { scribble(t, dir, 8192, 28672) }, aside: 1},
		{name: "queue and journal are gone", make: func(t *testing.T, dir string) {
			remove(t, dir, "queue.db", "*.seg")
		}, lost: 500},
		{name: "journal is gone", make: func(t *testing.T, dir string) { remove(t, dir, "*.seg") }, lost: 200},
		{name: "journal is cut short", make: func(t *testing.T, dir string) {
			for _, name := range glob(dir, "*.seg") {
				if err := os.Truncate(name, 100); err != nil {
					t.Fatal(err)
				}
			}
		}, lost: 200},
		{name: "journal is garbage", make: func(t *testing.T, dir string) {
			for _, name := range glob(dir, "*.seg") {
				write(t, name, []byte("garbage"))
			}
		}, lost: 200},
		{name: "a record of the journal is damaged", make: func(t *testing.T, dir string) {
			flipRecord(t, dir, sample(450))
		}, lost: 1},
		{name: "strange files", make: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "queue-x.db"), []byte("?"))
			write(t, filepath.Join(filepath.Dir(dir), "README"), []byte("?"))
			write(t, filepath.Join(filepath.Dir(dir), retiredPrefix+"x"), []byte("?"))
		}},
	}
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			dir, want := leftBehind(t, o)
			state.make(t, dir)
			problems := strings.Join(verifyDir(t, o, nil), "\n")
			problem := fmt.Sprintf("epoch %s: %d recorded responses were not acknowledged and are in neither", filepath.Base(dir), state.lost)
			if found := strings.Contains(problems, problem); found != (state.lost > 0) {
				t.Errorf("%d responses will be lost, verify said: %s", state.lost, problems)
			}
			if (state.blank || state.sound) && problems != "" {
				t.Errorf("verify: %s", problems)
			}
			s := openSet(t, o)
			reports := glob(o.QuarantineDir, "*.txt")
			if n := len(glob(o.QuarantineDir, "*")) - len(reports); n != state.aside {
				t.Errorf("%d files in quarantine, want %d", n, state.aside)
			}
			if want := state.aside + int(min(state.lost, 1)); len(reports) != want {
				t.Errorf("%d reports in quarantine, want %d", len(reports), want)
			}
			for _, name := range glob(o.QuarantineDir, "*-loss.txt") {
				if text, err := os.ReadFile(name); err != nil || !strings.Contains(string(text), "because:\nthe queue or journal of the dead process was damaged") {
					t.Errorf("report of a loss: %v, %s", err, text)
				}
			}
			ledgers := checkLedgers(t, s)
			got, drops := split(drain(t, s))
			merge(want, appendN(t, s, 1000, 10))
			mustFlush(t, s)
			for key, e := range drain(t, s) {
				got[key] = e
			}
			reported := uint64(0)
			for _, d := range drops {
				reported += d.RequestBytes
			}
			if reported != state.lost {
				t.Errorf("the stream reports %d lost, %d are: %+v", reported, state.lost, drops)
			}
			if state.blank {
				if len(ledgers) != 1 || len(folders(o.Dir)) != 1 {
					t.Fatalf("ledgers %+v", ledgers)
				}
				return
			}
			for key := range got {
				if _, ok := want[key]; !ok {
					t.Fatalf("event %v was never appended", key)
				}
			}
			if uint64(len(got)) != 510-state.lost {
				t.Fatalf("%d events arrived, want %d", len(got), 510-state.lost)
			}
			if len(ledgers) == 2 && ledgers[0].Recorded != 500-state.lost {
				t.Fatalf("ledger %+v", ledgers[0])
			}
		})
	}
}

// TestLiveFolderIsLeftAlone: a second Set in the same folder does not touch the first one's spool, and takes it over once the first one has
// ended.
func TestLiveFolderIsLeftAlone(t *testing.T) {
	o := testOptions(t.TempDir())
	a := openSet(t, o)
	want := appendN(t, a, 0, 10)
	mustFlush(t, a)
	b := openSet(t, o)
	if l := checkLedgers(t, b); len(l) != 1 {
		t.Fatalf("ledgers %+v", l)
	}
	abandon(t, a)
	if err := inStep(b, b.committer.reopen); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, drain(t, b), want)
}

// TestDamagedValue: a batch with changed bytes is moved to the quarantine and counted; the other batches are delivered.
func TestDamagedValue(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	want := make(map[id]uint64)
	for i := range 3 {
		part := appendN(t, s, i*100, 100)
		mustFlush(t, s)
		if i != 1 {
			merge(want, part)
		}
	}
	s.mu.Lock()
	bad := s.current.index[1]
	for i := range s.current.index {
		s.current.index[i].cached = nil
	}
	value, err := s.current.files[0].Read(&bad.Batch)
	if err != nil {
		t.Fatal(err)
	}
	value[len(value)/2] ^= 1
	err = s.current.files[0].Commit(queue.Change{Batch: &bad.Batch, Value: value, State: s.current.stateLocked(0, nil)})
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	wantEvents(t, drain(t, s), want)
	if l := checkLedgers(t, s)[0]; l.Recorded != 200 || l.Dropped["damaged"] != 100 || l.Spooled != 0 {
		t.Fatalf("ledger %+v", l)
	}
	if n := len(glob(o.QuarantineDir, "*.batch")); n != 1 {
		t.Fatalf("%d batches set aside", n)
	}
	if _, err := s.Ledgers(context.Background(), map[uuid.UUID]uint64{s.Epoch(): 300}); err != nil {
		t.Fatal(err)
	}
}

// flipRecord damages the record of an event in the journal.
func flipRecord(t *testing.T, dir string, e *event.Event) {
	t.Helper()
	record := make([]byte, e.Size())
	e.Encode(record)
	for _, name := range glob(dir, "*.seg") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(data, record); at >= 0 {
			data[at+2] ^= 1
			write(t, name, data)
			return
		}
	}
	t.Fatal("the journal has no such record")
}

func glob(dir, pattern string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, pattern))
	return names
}

func remove(t *testing.T, dir string, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		for _, name := range glob(dir, pattern) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func scribble(t *testing.T, dir string, from, to int) {
	t.Helper()
	name := filepath.Join(dir, "queue.db")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < min(to, len(data)); i++ {
		data[i] = 0xa5
	}
	write(t, name, data)
}
