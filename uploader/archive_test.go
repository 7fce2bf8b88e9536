package uploader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

func TestArchiveAndRetention(t *testing.T) {
	forEveryTarget(t, func(t *testing.T, p place) {
		t.Helper()
		ctx := context.Background()
		m := newMemStore(t)
		items := traffic(3000, testHour.Add(59*time.Minute+59*time.Second+850*time.Millisecond), 1, false) // into the next hour
		items = append(items, dropEvent(3001, testHour.Add(61*time.Minute), "full", 3))
		m.apply(testEpoch, testHour.Add(time.Hour), 500, items...)
		u, clk := newTest(t, m, p, nil)

		r, err := u.ArchiveOnce(ctx, false)
		if err != nil {
			t.Fatal(err)
		}
		if r.Rows != 3000 || r.Lines != 3001 || r.Objects < 3 || r.Resumed != 0 {
			t.Fatalf("result is %+v", r)
		}
		wantRequests(t, p, strings.TrimSpace(strings.Repeat("PUT GET PUT GET ", r.Objects)))
		wantArchived(t, p, items)
		if again, err := u.ArchiveOnce(ctx, true); err != nil || again.Objects != 0 {
			t.Fatalf("a second run does %+v, %v", again, err)
		}
		if s := u.Status(); s.ArchivedRows != 3000 || s.PendingEvents != 0 || s.OpenPlans != 0 || s.Jobs[JobArchive].LastSuccess.IsZero() {
			t.Fatalf("status is %+v", s)
		}
		clearRequests(p)

		if r, err := u.CleanOnce(ctx); err != nil || r.Objects != 0 || m.blocksLeft() == 0 {
			t.Fatalf("young events are deleted: %+v, %v", r, err)
		}
		wantRequests(t, p, "")
		clk.advance(80 * time.Hour)
		c, err := u.CleanOnce(ctx)
		if err != nil || c.Objects != r.Objects || c.Rows != 3000 || m.blocksLeft() != 0 || m.deleted != m.archived {
			t.Fatalf("result is %+v, %v; %d blocks left", c, err, m.blocksLeft())
		}
		wantRequests(t, p, strings.TrimSpace(strings.Repeat("HEAD ", r.Objects)))
		wantArchived(t, p, items)
	})
}

// TestRetryExecutesTheSamePlan breaks the first attempt at each step. The second attempt must finish the same plan with
// the same bytes, although clock, options and pending events have changed.
func TestRetryExecutesTheSamePlan(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name  string
		fault func(f *faulty, m *memStore)
	}{
		{"put fails", func(f *faulty, _ *memStore) { f.put = func(string) error { return boom } }},
		{"put succeeds and says it failed", func(f *faulty, _ *memStore) {
			inner := f.Target
			f.Target = putThenFail{inner, boom}
		}},
		{"read back fails", func(f *faulty, _ *memStore) { f.getErr = boom }},
		{"read back is cut", func(f *faulty, _ *memStore) {
			f.get = func(r io.ReadCloser) io.Reader { return io.LimitReader(r, 1000) }
		}},
		{"read back differs", func(f *faulty, _ *memStore) { f.get = func(r io.ReadCloser) io.Reader { return &flip{r: r, at: 500} } }},
		{"read back is longer", func(f *faulty, _ *memStore) {
			f.get = func(r io.ReadCloser) io.Reader { return io.MultiReader(r, strings.NewReader("x")) }
		}},
		{"metadata is lost", func(f *faulty, _ *memStore) { f.meta = func(m map[string]string) { delete(m, MetaRuns) } }},
		{"mark fails", func(_ *faulty, m *memStore) { m.failMark = boom }},
	} {
		t.Run(c.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, p place) {
				t.Helper()
				ctx := context.Background()
				m := newMemStore(t)
				items := traffic(300, testHour, 1, true)
				m.apply(testEpoch, testHour, 500, items...)
				f := &faulty{Target: p.Target}
				c.fault(f, m)
				u, _ := newTest(t, m, f, func(o *Options) { o.ObjectBytes = 1 << 20 })
				r, err := u.ArchiveOnce(ctx, false)
				if err == nil || r.Objects != 0 || m.archived != 0 || m.planCount() != 1 || m.plan(0).State != catalogue.Planned {
					t.Fatalf("the broken attempt: %+v, %v, %d plans", r, err, m.planCount())
				}
				if s := u.Status(); s.OpenPlans != 1 || s.Jobs[JobArchive].ConsecutiveFailures != 1 || s.Jobs[JobArchive].LastError == "" {
					t.Errorf("status is %+v", s)
				}
				first := m.plan(0)

				more := traffic(100, testHour.Add(30*time.Minute), 301, true)
				m.apply(testEpoch, testHour, 500, more...)
				u, clk := newTest(t, m, p.Target, func(o *Options) {
					o.Service, o.Instance, o.Fields, o.ObjectBytes = "renamed", "other", []string{FieldTraceID}, 64<<10
				})
				clk.advance(1000 * time.Hour)
				r, err = u.ArchiveOnce(ctx, false)
				if err != nil || r.Resumed != 1 || r.Objects != 2 {
					t.Fatalf("the second attempt: %+v, %v", r, err)
				}
				second := m.plan(0)
				if second.Key != first.Key || second.State != catalogue.Verified || second.Lines != 300 {
					t.Fatalf("plan became %+v", second)
				}
				content := readAll(t, p, first.Key)
				if got := rebuilt(t, m, &first); !bytes.Equal(got, content) {
					t.Fatal("the object is not what the first plan gives")
				}
				wantArchived(t, p, append(items, more...))
			})
		})
	}
}

func TestObjectCutOnTheServerIsNotVerifiedAndHeals(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p place) {
		t.Helper()
		ctx := context.Background()
		m := newMemStore(t)
		items := traffic(300, testHour, 1, false)
		m.apply(testEpoch, testHour, 500, items...)
		f := &faulty{Target: p.Target, after: func(key string) {
			if err := os.Truncate(p.file(key), 1000); err != nil {
				t.Error(err)
			}
		}}
		u, clk := newTest(t, m, f, nil)
		if _, err := u.ArchiveOnce(ctx, false); err == nil || m.archived != 0 {
			t.Fatalf("a cut object is archived: %v", err)
		}
		clk.advance(1000 * time.Hour)
		if r, err := u.CleanOnce(ctx); err != nil || r.Objects != 0 || m.blocksLeft() == 0 {
			t.Fatalf("events of a cut object are deleted: %+v, %v", r, err)
		}
		f.after = nil
		if _, err := u.ArchiveOnce(ctx, false); err != nil {
			t.Fatal(err)
		}
		wantArchived(t, p, items)
	})
}

func TestEventsThatDoNotMatchThePlanAreNotSent(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(b *memBlock)
	}{
		{"one is missing", func(b *memBlock) {
			b.seqs, b.labels, b.records = b.seqs[1:], b.labels[1:], b.records[1:]
		}},
		{"one is missing at the end", func(b *memBlock) { b.seqs, b.records = b.seqs[:4], b.records[:4] }},
		{"one is twice", func(b *memBlock) { b.seqs[1] = b.seqs[0] }},
		{"one has another kind", func(b *memBlock) {
			e := dropEvent(0, testHour, "full", 1).event
			b.records[2] = b.records[2][:e.Encode(make([]byte, 0, 1000)[:1000])]
			e.Encode(b.records[2])
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := bucket(t)
			m := newMemStore(t)
			m.apply(testEpoch, testHour, 5, plainEvents(5, testHour, 1)...)
			good := plainEvents(5, testHour.Add(time.Hour), 6)
			m.apply(testEpoch, testHour, 5, good...)
			c.harm(m.blocks[m.order[0]])
			u, _ := newTest(t, m, p, nil)
			r, err := u.ArchiveOnce(context.Background(), false)
			if !errors.Is(err, ErrSource) || r.Objects != 1 {
				t.Fatalf("result is %+v, %v", r, err)
			}
			wantRequests(t, p, "PUT GET PUT GET") // the second plan is archived
			wantArchived(t, p, good)
		})
	}
}

func TestUnreachableTargetLosesNothingAndIsAskedOnce(t *testing.T) {
	m := newMemStore(t)
	items := append(plainEvents(10, testHour, 1), plainEvents(10, testHour.Add(-time.Hour), 11)...)
	m.apply(testEpoch, testHour, 5, items...)
	target, err := OpenTarget(context.Background(), "s3://bucket?endpoint=http://127.0.0.1:1&path_style=true", TargetOptions{AccessKey: "a", SecretKey: "b"})
	if err != nil {
		t.Fatal(err)
	}
	u, _ := newTest(t, m, target, nil)
	for i := range 3 {
		r, err := u.ArchiveOnce(context.Background(), true)
		if err == nil || !strings.Contains(err.Error(), "check endpoint=") || r.Objects != 0 {
			t.Fatalf("result is %+v, %v", r, err)
		}
		if s := u.Status(); s.Jobs[JobArchive].ConsecutiveFailures != i+1 || s.OpenPlans != 1 || m.planCount() != 1 {
			t.Fatalf("status is %+v, %d plans", s, m.planCount())
		}
	}
	dir := directory(t)
	u, _ = newTest(t, m, dir, func(o *Options) {
		o.Targets = NewTargets(o.Target, TargetOptions{AccessKey: "a", SecretKey: "b"})
	})
	if _, err := u.ArchiveOnce(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	wantArchived(t, dir, items)
}

func TestArchiveAsksUntilNothingIsPending(t *testing.T) {
	m := newMemStore(t)
	m.pendingMax = 2
	u, clk := newTest(t, m, directory(t), nil)
	m.apply(testEpoch, clk.Now(), 10, plainEvents(30, testHour, 1)...)                    // too young, and first in the list
	m.apply(testEpoch, clk.Now().Add(-2*time.Hour), 10, plainEvents(70, testHour, 31)...) // old enough
	m.apply(testEpoch, clk.Now().AddDate(1, 0, 0), 10, plainEvents(10, testHour, 101)...) // applied while the clock was ahead
	for _, c := range []struct {
		pendingMax int
		all        bool
		want       uint64
	}{{2, false, 70}, {0, false, 10}, {2, true, 30}} {
		m.pendingMax = c.pendingMax
		r, err := u.ArchiveOnce(context.Background(), c.all)
		if err != nil || r.Rows != c.want {
			t.Fatalf("archived %d rows, want %d, %v", r.Rows, c.want, err)
		}
	}
}

func TestArchivingFitsIntoItsMemory(t *testing.T) {
	items := incompressible(7000, 2000)
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 1000, items...)
	pl := testPlanner()
	pl.estimate.ratio = 0.01 // far too low, so that the object is larger than its buffer
	plans := pl.cut(pendingOf(t, m), testHour, true)
	if len(plans) != 1 {
		t.Fatalf("%d plans", len(plans))
	}
	if used := memoryOf(t, m, plans[0]); used > 16<<20 {
		t.Fatalf("an object takes %d MiB", used>>20)
	}
}
