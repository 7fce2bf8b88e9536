package uploader

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

func TestRetentionKeepsWhatIsNotInPlace(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(name string) error
	}{
		{"object is gone", os.Remove},
		{"object is cut", func(name string) error { return os.Truncate(name, 100) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, p place) {
				t.Helper()
				ctx := context.Background()
				m := newMemStore(t)
				m.apply(testEpoch, testHour, 500, traffic(100, testHour, 1, false)...)
				m.apply(testEpoch, testHour, 500, traffic(100, testHour.Add(time.Hour), 101, false)...)
				u, clk := newTest(t, m, p, nil)
				clk.advance(100 * time.Hour)
				if _, err := u.ArchiveOnce(ctx, false); err != nil {
					t.Fatal(err)
				}
				if err := c.harm(p.file(m.plan(0).Key)); err != nil {
					t.Fatal(err)
				}
				r, err := u.CleanOnce(ctx)
				if !errors.Is(err, ErrArchiveMissing) || r.Kept != 1 || r.Objects != 1 || m.plan(0).State != catalogue.Verified {
					t.Fatalf("result is %+v, %v; plan %s", r, err, m.plan(0).State)
				}
			})
		})
	}
}

func TestRetentionOfEventsFromAFastClock(t *testing.T) {
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 500, traffic(10, testHour.AddDate(20, 0, 0), 1, false)...)
	u, clk := newTest(t, m, directory(t), nil)
	if _, err := u.ArchiveOnce(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if r, err := u.CleanOnce(context.Background()); err != nil || r.Objects != 0 {
		t.Fatalf("deleted at once: %+v, %v", r, err)
	}
	clk.advance(73 * time.Hour)
	if r, err := u.CleanOnce(context.Background()); err != nil || r.Objects != 1 {
		t.Fatalf("kept for ever: %+v, %v", r, err)
	}
}

func TestRetentionGoesOnWhenTheStoreRefuses(t *testing.T) {
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 500, traffic(10, testHour, 1, false)...)
	u, clk := newTest(t, m, directory(t), nil)
	if _, err := u.ArchiveOnce(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	clk.advance(100 * time.Hour)
	m.failDelete = errors.New("not at the checkpoint yet")
	r, err := u.CleanOnce(context.Background())
	if !errors.Is(err, m.failDelete) || r.Kept != 1 {
		t.Fatalf("result is %+v, %v", r, err)
	}
}
