package queue

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

var epoch = uuid.MustParse("018f0000-0000-7000-8000-000000000001")

// batch makes a batch of n responses that begins at the given sequence number.
func batch(t *testing.T, first uint64, n int) (Batch, []byte) {
	t.Helper()
	b := event.NewBatchBuilder(epoch)
	e := event.Event{Kind: event.KindRequest, Status: 200, Path: bytes.Repeat([]byte("p"), 100)}
	payload := make([]byte, e.Size())
	for i := range n {
		if err := b.Add(first+uint64(i), payload[:e.Encode(payload)], true); err != nil {
			t.Fatal(err)
		}
	}
	value := bytes.Clone(b.Bytes())
	return Batch{First: first, Last: first + uint64(n) - 1, Records: uint32(n), Responses: uint32(n), Size: len(value)}, value
}

func create(t *testing.T, dir string, bytesMax int64) *File {
	t.Helper()
	f, err := Create(Options{BytesMax: bytesMax}, dir, 0, &State{Version: Version, Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func commit(t *testing.T, f *File, b *Batch, value []byte, removals int) {
	t.Helper()
	if err := f.Commit(Change{Batch: b, Value: value, Removals: removals, State: &State{Version: Version, Epoch: epoch, LastSeq: b.Last}}); err != nil {
		t.Fatal(err)
	}
}

// held returns the first sequence number of each batch in a closed file.
func held(t *testing.T, dir string) (firsts []uint64) {
	t.Helper()
	err := Inspect(dir, 0, epoch, func(_ *File, _ *State, index []Batch) {
		for i := range index {
			firsts = append(firsts, index[i].First)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return firsts
}

// TestRemovals: a change commits only as many removals as it specifies. Later ones wait for a later change, and those of a retired file are
// discarded.
func TestRemovals(t *testing.T) {
	dir := t.TempDir()
	f := create(t, dir, 1<<20)
	one, value := batch(t, 1, 3)
	commit(t, f, &one, value, 0)
	two, value := batch(t, 4, 3)
	commit(t, f, &two, value, 0)
	f.Remove(&one)
	noted := f.Removals()
	f.Remove(&two)
	three, value := batch(t, 7, 3)
	commit(t, f, &three, value, noted)
	if n := f.Removals(); n != 1 {
		t.Errorf("%d batches are to be removed, want 1", n)
	}
	for b, want := range map[*Batch]bool{&one: false, &two: true, &three: true} {
		if value, err := f.Read(b); err != nil || (value != nil) != want {
			t.Errorf("batch %d: there is %v, want %v; %v", b.First, value != nil, want, err)
		}
	}
	f.Retire()
	f.Remove(&three)
	if n := f.Removals(); n != 0 || f.Writable() {
		t.Errorf("retired: %d batches are to be removed, writable %v", n, f.Writable())
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := held(t, dir); len(got) != 2 || got[0] != 4 || got[1] != 7 {
		t.Errorf("batches %d are held", got)
	}
}

// TestFullChangesNothing: a change for which there is no room leaves the file unchanged, and its removals remain pending.
func TestFullChangesNothing(t *testing.T) {
	dir := t.TempDir()
	f := create(t, dir, 256<<10)
	var err error
	first, n := uint64(1), 0
	var one Batch
	for ; err == nil && n < 100; n++ {
		b, value := batch(t, first, 200)
		if n == 0 {
			one = b
		}
		if err = f.Commit(Change{Batch: &b, Value: value, State: &State{Version: Version, Epoch: epoch, LastSeq: b.Last}}); err == nil {
			first = b.Last + 1
		}
	}
	if !errors.Is(err, ErrFull) || n < 2 {
		t.Fatalf("after %d batches: %v", n, err)
	}
	f.Remove(&one)
	b, value := batch(t, first, 2000)
	if err := f.Commit(Change{Batch: &b, Value: value, Removals: 1, State: &State{Version: Version, Epoch: epoch}}); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if f.Removals() != 1 {
		t.Error("the removal was forgotten")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, s, index, err := Open(Options{BytesMax: 1 << 20}, dir, 0, epoch)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s.LastSeq != first-1 || len(index) != n-1 || index[0].First != 1 {
		t.Errorf("state up to %d, want %d; %d batches, want %d", s.LastSeq, first-1, len(index), n-1)
	}
}

// TestOpenDamaged: a file that wayside did not write is reported as damaged and not changed.
func TestOpenDamaged(t *testing.T) {
	for name, harm := range map[string]func([]byte) []byte{
		"empty":   func([]byte) []byte { return nil },
		"rubbish": func([]byte) []byte { return bytes.Repeat([]byte("rubbish "), 4096) },
		"cut off": func(b []byte) []byte { return b[:8192] },
		"another epoch's state": func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte(`"epoch":"018f0000-0000-7000-8000-000000000001"`), []byte(`"epoch":"018f0000-0000-7000-8000-000000000002"`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := create(t, dir, 1<<20)
			b, value := batch(t, 1, 30)
			commit(t, f, &b, value, 0)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "queue.db")
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			harmed := harm(body)
			if err := os.WriteFile(path, harmed, 0o600); err != nil {
				t.Fatal(err)
			}
			_, s, _, err := Open(Options{BytesMax: 1 << 20}, dir, 0, epoch)
			if name == "another epoch's state" {
				if err != nil || s != nil { // the checksum is wrong, so the ledger page is used
					t.Fatal(s, err)
				}
				return
			}
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, harmed) {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

// TestOpeningDeaths: a file counts as damaged once two processes have died while opening it.
func TestOpeningDeaths(t *testing.T) {
	dir := t.TempDir()
	if err := create(t, dir, 1<<20).Close(); err != nil {
		t.Fatal(err)
	}
	for deaths, damaged := range map[string]bool{"1": false, "2": true} {
		if err := os.WriteFile(Name(dir, 0)+".opening", []byte(deaths), 0o600); err != nil {
			t.Fatal(err)
		}
		f, _, _, err := Open(Options{BytesMax: 1 << 20}, dir, 0, epoch)
		if errors.Is(err, ErrDamaged) != damaged {
			t.Errorf("after %s deaths: %v", deaths, err)
		}
		if f != nil {
			_ = f.Close()
		}
		if _, err := os.Stat(Name(dir, 0) + ".opening"); err == nil {
			t.Errorf("after %s deaths: the marker stays", deaths)
		}
	}
}
