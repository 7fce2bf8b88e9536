package uploader

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// testClock is a clock that a test moves.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newTest(t *testing.T, m *memStore, target Target, change func(*Options)) (*Uploader, *testClock) {
	t.Helper()
	clk := &testClock{now: testHour.Add(2 * time.Hour)}
	o := Options{
		Source: m, Catalogue: m, Target: target, Service: "shop", Instance: "pod-0", Now: clk.Now, TempDir: t.TempDir(),
		ObjectBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return u, clk
}

// faulty is a target that a test makes fail.
type faulty struct {
	Target
	put    func(key string) error        // instead of putting
	after  func(key string)              // after a put that succeeded
	get    func(io.ReadCloser) io.Reader // what is read back
	getErr error
	meta   func(map[string]string)
}

func (f *faulty) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, meta map[string]string) error {
	if f.put != nil {
		if err := f.put(key); err != nil {
			return err
		}
	}
	err := f.Target.Put(ctx, key, body, size, meta)
	if err == nil && f.after != nil {
		f.after(key)
	}
	return err
}

func (f *faulty) Get(ctx context.Context, key string) (io.ReadCloser, map[string]string, error) {
	if f.getErr != nil {
		return nil, nil, f.getErr
	}
	body, meta, err := f.Target.Get(ctx, key)
	if err == nil && f.get != nil {
		body = struct {
			io.Reader
			io.Closer
		}{f.get(body), body}
	}
	if err == nil && f.meta != nil {
		f.meta(meta)
	}
	return body, meta, err
}

func TestArchiveAndRetention(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p place) {
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
		wantRequests(t, p, strings.TrimSpace(strings.Repeat("PUT GET ", r.Objects)))
		wantArchived(t, p, items)
		if again, err := u.ArchiveOnce(ctx, true); err != nil || again.Objects != 0 {
			t.Fatalf("a second run does %+v, %v", again, err)
		}
		if s := u.Status(); s.ArchivedRows != 3000 || s.PendingEvents != 0 || s.OpenPlans != 0 || s.Archive.LastSuccess.IsZero() {
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

func wantRequests(t *testing.T, p place, want string) {
	t.Helper()
	if p.requests == nil {
		return
	}
	if diff := cmp.Diff(want, p.requests.take()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func clearRequests(p place) {
	if p.requests != nil {
		p.requests.take()
	}
}

// wantArchived checks that the objects hold exactly these events, each in its hour's object, as their metadata say.
func wantArchived(t *testing.T, target Target, items []memItem) {
	t.Helper()
	ctx := context.Background()
	want := map[uint64]*memItem{}
	for i := range items {
		want[items[i].seq] = &items[i]
	}
	total := 0
	err := target.List(ctx, EventsPrefix, func(o ObjectInfo) error {
		_, meta, err := statMeta(ctx, target, o.Key)
		if err != nil {
			return err
		}
		runs, err := ParseRuns(meta[MetaRuns])
		if err != nil {
			return err
		}
		cursor := runCursor{runs: runs}
		return ReadObject(ctx, target, o.Key, func(l *Line) error {
			total++
			it := want[l.Seq]
			if it == nil || l.EventID != event.ID(it.event.TimeMicros, testEpoch, l.Seq) || l.Template != it.label || l.Path != string(it.event.Path) {
				t.Errorf("line %+v is not of %+v, or twice", l, it)
			}
			delete(want, l.Seq)
			if !cursor.next(l.Seq) {
				t.Errorf("%s: sequence number %d is not in its runs", o.Key, l.Seq)
			}
			if !strings.HasPrefix(o.Key, HourPrefix(l.Time.Unix()/3600)) {
				t.Errorf("%s holds a line of %s", o.Key, l.Time)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 0 || total != len(items) {
		t.Errorf("%d of %d events are missing, %d lines found", len(want), len(items), total)
	}
	c, err := CountTarget(ctx, target)
	if err != nil || c.Lines != total || c.Distinct != total {
		t.Errorf("count is %+v, %v", c, err)
	}
	objects, lines, rows, err := CountLines(ctx, target)
	if err != nil || objects != c.Objects || lines != c.Lines || rows != c.Rows {
		t.Errorf("lines count to %d %d %d, %v", objects, lines, rows, err)
	}
}

func statMeta(ctx context.Context, target Target, key string) (int64, map[string]string, error) {
	info, err := target.Stat(ctx, key)
	return info.Size, info.Meta, err
}

// TestRetryExecutesTheSamePlan breaks the first attempt at each step, and sees the second one finish the same plan with the
// same bytes, whatever happened to clock, options and pending events in between.
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
				if s := u.Status(); s.OpenPlans != 1 || s.Archive.ConsecutiveFailures != 1 || s.Archive.LastError == "" {
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

type putThenFail struct {
	Target
	err error
}

func (p putThenFail) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, meta map[string]string) error {
	if err := p.Target.Put(ctx, key, body, size, meta); err != nil {
		return err
	}
	return p.err
}

// flip changes one byte.
type flip struct {
	r  io.Reader
	at int
}

func (f *flip) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if f.at >= 0 && f.at < n {
		p[f.at] ^= 1
	}
	f.at -= n
	return n, err
}

func readAll(t *testing.T, target Target, key string) []byte {
	t.Helper()
	body, _, err := target.Get(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func rebuilt(t *testing.T, m *memStore, p *catalogue.Plan) []byte {
	t.Helper()
	b := newBuilder(t.TempDir())
	if _, err := b.build(context.Background(), m, p); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(b.body.reader())
	if err != nil {
		t.Fatal(err)
	}
	return content
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
			wantRequests(t, p, "PUT GET") // the second plan does not suffer
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
		if s := u.Status(); s.Archive.ConsecutiveFailures != i+1 || s.OpenPlans != 1 || m.planCount() != 1 {
			t.Fatalf("status is %+v, %d plans", s, m.planCount())
		}
	}
	dir := directory(t)
	u, _ = newTest(t, m, dir, nil)
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
	m.apply(testEpoch, clk.Now().AddDate(1, 0, 0), 10, plainEvents(10, testHour, 101)...) // clock was ahead
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
	items := plainEvents(12_000, testHour, 1)
	rng := rand.NewChaCha8([32]byte{2})
	for i := range items { // paths that do not compress below a kilobyte
		path := make([]byte, 1000)
		_, _ = rng.Read(path)
		items[i].event.Path = hex.AppendEncode([]byte("/"), path)
	}
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 1000, items...)
	pl := testPlanner()
	pl.estimate.ratio = 0.01 // an estimate that is far too low, so that the object spills
	plans := pl.cut(pendingOf(t, m), testHour, true)
	if len(plans) != 1 {
		t.Fatalf("%d plans", len(plans))
	}
	if used := memoryOf(t, m, plans[0]); used > 16<<20 {
		t.Fatalf("an object takes %d MiB", used>>20)
	}
}
