package spool

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// TestFlippedKeysAndState flips bits in a queue file where no checksum of bbolt or of a batch covers them: in the keys, which contain the
// number of responses, and in the state. No figure may be wrong, neither before nor after the events are delivered.
func TestFlippedKeysAndState(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	want := map[id]uint64{}
	for n := range 3 {
		merge(want, appendN(t, s, 100*n, 100))
		mustFlush(t, s)
	}
	epoch, queue := s.Epoch(), queue.Name(s.current.dir, 0)
	abandon(t, s)
	for _, name := range segmentsIn(t, filepath.Dir(queue)) {
		if err := os.Remove(name); err != nil { // otherwise recovery would use the journal
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile(queue)
	if err != nil {
		t.Fatal(err)
	}
	parts := partsOf(t, queue)
	for what, part := range parts {
		at := bytes.LastIndex(body, part) // freed pages may contain older copies
		for bit := 0; bit < 8*len(part); bit += 5 {
			broken := bytes.Clone(body)
			broken[at+bit/8] ^= 1 << (bit % 8)
			name := fmt.Sprintf("%s, bit %d", what, bit)
			dir := filepath.Join(t.TempDir(), "spool")
			if err := os.CopyFS(dir, os.DirFS(o.Dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, epoch.String(), filepath.Base(queue)), broken, 0o600); err != nil {
				t.Fatal(err)
			}
			openFlipped(t, name, dir, want)
		}
	}
}

func openFlipped(t *testing.T, name, dir string, want map[id]uint64) {
	t.Helper()
	o := testOptions(filepath.Dir(dir))
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := checkLedgers(t, s)[0]
	if l.Recorded+l.Dropped["damaged"] != 300 || l.Responses != 300 || l.Spooled != l.Recorded {
		t.Errorf("%s: %+v", name, l)
	}
	got, _ := split(drain(t, s))
	for key := range got {
		if _, sent := want[key]; !sent {
			t.Errorf("%s: %v was never appended", name, key)
		}
	}
	if l = checkLedgers(t, s)[0]; uint64(len(got)) != l.Recorded || l.Recorded+l.Dropped["damaged"] != 300 || l.Spooled != 0 {
		t.Errorf("%s: %d delivered: %+v", name, len(got), l)
	}
	if missing, err := s.Reconcile(context.Background(), l.Epoch, l.LastSeq, uint64(len(got))); missing != 0 || err != nil {
		t.Errorf("%s: %d missing, %v", name, missing, err)
	}
}

// partsOf returns the keys of the batches, and the state.
func partsOf(t *testing.T, queue string) map[string][]byte {
	t.Helper()
	db, err := bolt.Open(queue, 0o400, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	parts := map[string][]byte{}
	err = db.View(func(tx *bolt.Tx) error {
		parts["state"] = bytes.Clone(tx.Bucket([]byte("meta")).Get([]byte("state")))
		return tx.Bucket([]byte("batches")).ForEach(func(k, _ []byte) error {
			parts[fmt.Sprintf("key %d", len(parts))] = bytes.Clone(k)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

func segmentsIn(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "journal-*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}
