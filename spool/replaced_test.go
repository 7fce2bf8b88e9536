package spool

import (
	"context"
	"os"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// TestReplacedBatchIsRemoved: a damaged batch is replaced with the journal's copy, which may have another key, in one transaction. Whatever step
// this process dies at, no later process finds both.
func TestReplacedBatchIsRemoved(t *testing.T) {
	cases := []struct {
		name string
		harm func(t *testing.T, s *Set, bad entry, value []byte) // damages more than the batch itself
		here uint64                                              // how many of the 20 responses survive
	}{
		{name: "the journal has less of it", here: 19},
		{name: "its key is damaged as well", here: 20, harm: func(t *testing.T, s *Set, bad entry, value []byte) {
			t.Helper()
			flipped := bad
			flipped.Last ^= 1 // one higher than the last seq in the batch
			if flipped.Last != bad.Last+1 {
				t.Fatalf("last seq %d", bad.Last)
			}
			if err := bad.file.Commit(queue.Change{Batch: &flipped.Batch, Value: value, Remove: []queue.Batch{bad.Batch}, State: s.current.stateLocked(0, nil)}); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			s := openSet(t, o)
			for i := range 2 {
				appendN(t, s, 10*i, 10)
				mustFlush(t, s)
			}
			damageBatch(t, s, 1)
			bad := s.current.index[1]
			value, err := bad.file.Read(&bad.Batch)
			if err != nil {
				t.Fatal(err)
			}
			if c.harm != nil {
				c.harm(t, s, bad, value)
			}
			epoch, dir := s.Epoch(), s.current.dir
			abandon(t, s)
			if c.harm == nil {
				flipFirstRecords(t, dir)
			}
			for life := range 3 {
				s = openSet(t, o)
				if l := checkLedgers(t, s)[0]; l.Epoch != epoch || l.Responses != 20 {
					t.Errorf("life %d, before anything is read: %+v", life, l)
				}
				if n := responsesHere(t, s); n != c.here {
					t.Errorf("life %d: %d responses came, want %d", life, n, c.here)
				}
				if l := checkLedgers(t, s)[0]; l.Recorded != c.here || l.Dropped["damaged"] != 20-c.here || l.Responses != 20 {
					t.Errorf("life %d: %+v", life, l)
				}
				abandon(t, s)
				if err := queue.Inspect(dir, 0, epoch, func(_ *queue.File, _ *queue.State, index []queue.Batch) {
					for i := 1; i < len(index); i++ {
						if index[i].First <= index[i-1].Last {
							t.Errorf("life %d: both %d to %d and %d to %d are in the queue", life,
								index[i-1].First, index[i-1].Last, index[i].First, index[i].Last)
						}
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			wantSound(t, o)
		})
	}
}

// flipFirstRecords flips a bit in the first record of each journal segment.
func flipFirstRecords(t *testing.T, dir string) {
	t.Helper()
	for _, name := range segmentsIn(t, dir) {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		body[4096+24] ^= 1
		if err := os.WriteFile(name, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// responsesHere counts the responses that are delivered, without acknowledging them.
func responsesHere(t *testing.T, s *Set) (n uint64) {
	t.Helper()
	batches, err := s.Peek(context.Background(), PeekOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[id]event.Event)
	collect(t, batches, all)
	got, _ := split(all)
	return uint64(len(got))
}
