package uploader

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// testClock is a clock that a test controls.
type testClock struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
}

// Elapsed returns the time that has passed, which jumps do not affect.
func (c *testClock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// jump changes the wall clock while no time passes.
func (c *testClock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.elapsed = c.now.Add(d), c.elapsed+d
}

func newTest(t *testing.T, m *memStore, target Target, change func(*Options)) (*Uploader, *testClock) {
	t.Helper()
	clk := &testClock{now: testHour.Add(2 * time.Hour)}
	o := Options{
		Source: m, Catalogue: m, Target: target, Service: "shop", Instance: "pod-0", Now: clk.Now, Elapsed: clk.Elapsed,
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

// faulty is a target that a test can make fail.
type faulty struct {
	Target
	put    func(key string) error        // called before a put; an error replaces it
	after  func(key string)              // called after a successful put
	get    func(io.ReadCloser) io.Reader // replaces the body that is read back
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

// wantArchived checks that the objects contain exactly these events, each in the object of its hour, as their metadata
// says.
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
		_, err = ScanEvents(ctx, target, o.Key, func(_ []byte, l *Line) error {
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
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantStatistics(t, target, items)
	if len(want) != 0 || total != len(items) {
		t.Errorf("%d of %d events are missing, %d lines found", len(want), len(items), total)
	}
	c, err := CountTarget(ctx, target)
	if err != nil || c.Lines != total || c.Distinct != total {
		t.Errorf("count is %+v, %v", c, err)
	}
}

func statMeta(ctx context.Context, target Target, key string) (int64, map[string]string, error) {
	info, err := target.Stat(ctx, key)
	return info.Size, info.Meta, err
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
	b := newBuilder()
	if _, err := b.build(context.Background(), m, p); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(b.body.reader())
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// wantStatistics checks that the statistics objects add up to the rows of exactly these events.
func wantStatistics(t *testing.T, target Target, items []memItem) {
	t.Helper()
	want := map[stats.Key]*stats.Row{}
	for i := range items {
		e := &items[i].event
		if !e.IsResponse() {
			continue
		}
		key := stats.Key{Hour: e.TimeMicros / 3600e6, Host: string(e.Host), Method: string(e.Method), Label: items[i].label}
		if want[key] == nil {
			want[key] = &stats.Row{}
		}
		want[key].Add(e)
	}
	got := map[stats.Key]*stats.Row{}
	err := target.List(context.Background(), StatsPrefix, func(o ObjectInfo) error {
		object, err := ParseKey(EventsPrefix + strings.TrimPrefix(o.Key, StatsPrefix))
		if err != nil {
			return err
		}
		_, err = ScanStatistics(context.Background(), target, &object, func(key stats.Key, row *stats.Row) error {
			if got[key] == nil {
				got[key] = &stats.Row{}
			}
			got[key].Merge(row)
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("%d rows in the statistics objects, want %d", len(got), len(want))
	}
	for key, w := range want {
		if got[key] == nil {
			t.Errorf("no row %v", key)
			continue
		}
		a, _ := w.AppendBinary(nil)
		b, _ := got[key].AppendBinary(nil)
		if !bytes.Equal(a, b) {
			t.Errorf("row %v differs: %+v, want %+v", key, got[key], w)
		}
	}
}
