package store

import (
	"context"
	"testing"
)

// TestFlattenFreesSpace archives and deletes all events, and expects their disk space to be free after a Flatten.
func TestFlattenFreesSpace(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MemTableBytes = 1 << 20 // so that there is more than Badger keeps in its first level
	s := openStore(t, o)
	ctx := context.Background()
	g := newTraffic(11)
	g.trace = true // 16 bytes that do not compress
	for range 80 {
		apply(t, s, g.batch(2500))
	}
	checkpoint(t, s)
	if err := s.Flatten(); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Size()
	p := pendingPlan(t, s, "v1/all")
	if err := s.AddPlan(ctx, p); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkVerified(ctx, p); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBlocks(ctx, p); err != nil {
		t.Fatal(err)
	}
	// If Badger is still writing the deletions out, the next Flatten frees their space.
	after := before
	for try := 0; try < 6 && after > before/2; try++ {
		if err := s.Flatten(); err != nil {
			t.Fatal(err)
		}
		after, _ = s.Size()
	}
	t.Logf("%d events: %d KiB, %d KiB after they were deleted", p.Rows, before>>10, after>>10)
	if after > before/2 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
}
