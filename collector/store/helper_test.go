package store

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

var testEpoch = uuid.MustParse("0190a0b0-c0d0-7e0f-8102-030405060708")

// testStart is a quarter past an hour.
var testStart = time.Date(2026, 3, 3, 10, 15, 0, 0, time.UTC)

// traffic generates events like those of a small service.
type traffic struct {
	r     *rand.Rand
	epoch uuid.UUID
	seq   uint64
	now   int64 // µs
	step  int64 // mean time between two events, µs
	trace bool
	edge  bool // whether events are like those of an edge proxy, with routes, TLS, gRPC and attempts
}

func newTraffic(seed uint64) *traffic {
	return &traffic{r: rand.New(rand.NewPCG(seed, 1)), epoch: testEpoch, now: testStart.UnixMicro(), step: 100, edge: seed%2 == 1}
}

// plainTraffic is like newTraffic, for a sidecar without routes.
func plainTraffic(seed uint64) *traffic {
	g := newTraffic(seed)
	g.edge = false
	return g
}

var routes = []struct {
	method, label string
	weight        int
	bytes         uint64
}{
	{"GET", "/api/users/{id}", 30, 812},
	{"GET", "/api/users/{id}/orders/{id}", 20, 1600},
	{"GET", "/api/search", 15, 5000},
	{"POST", "/api/orders", 8, 120},
	{"GET", "/static/app.js", 10, 184321},
	{"GET", "/static/logo.svg", 6, 2210},
	{"GET", "/", 5, 7012},
	{"DELETE", "/api/sessions/{uuid}", 3, 0},
	{"GET", "/health", 3, 2},
}

func (g *traffic) item() Item {
	g.seq++
	g.now += 1 + g.r.Int64N(2*g.step)
	n := g.r.IntN(100)
	route := routes[len(routes)-1]
	for _, candidate := range routes {
		if n -= candidate.weight; n < 0 {
			route = candidate
			break
		}
	}
	path := ""
	for label := route.label; ; {
		literal, rest, found := block.NextPlaceholder(label)
		path += literal
		if !found {
			break
		}
		if route.method == "DELETE" {
			path += uuid.Must(uuid.NewRandomFromReader(randReader{g.r})).String()
		} else {
			path += fmt.Sprint(1000 + g.r.IntN(90000))
		}
		label = rest
	}
	ttfb := uint64(300 + g.r.ExpFloat64()*4000)
	e := event.Event{
		TimeMicros: g.now, Kind: event.KindRequest, Status: 200,
		DurationMicros: ttfb + uint64(g.r.ExpFloat64()*200), TTFBMicros: ttfb, ResponseBytes: route.bytes,
		Method: []byte(route.method), Host: []byte("shop.example.com"), Path: []byte(path),
		Upstream: []byte("127.0.0.1:3000"), Protocol: []byte("1.1"),
		Client: fmt.Appendf(nil, "%d.%d.%d.0", 20+g.r.IntN(12), g.r.IntN(10), g.r.IntN(16)),
	}
	if route.weight == 15 || route.weight == 20 {
		e.ResponseBytes = uint64(g.r.IntN(20000))
	}
	switch g.r.IntN(60) {
	case 0:
		e.Status = 404
	case 1:
		e.Status, e.ErrorType = 502, []byte("connect_refused")
	}
	if g.trace {
		e.TraceID = fmt.Appendf(nil, "%016x%016x", g.r.Uint64(), g.r.Uint64())
	}
	rowRoute := ""
	if g.edge {
		rowRoute = g.addEdge(&e)
	}
	record := make([]byte, e.Size())
	e.Encode(record)
	return Item{Seq: g.seq, Host: "shop.example.com", Method: route.method, Label: route.label, Route: rowRoute, Event: e, Record: record}
}

// addEdge adds what an edge proxy records, and returns the route of the row.
func (g *traffic) addEdge(e *event.Event) (rowRoute string) {
	e.TLSVersion = tls.VersionTLS13
	switch g.r.IntN(8) {
	case 0:
		e.TLSVersion = 0
	case 1:
		e.Attempts = 2
	case 2, 3:
		e.GRPCStatus = event.GRPCStatus(g.r.IntN(20)) // none, absent, other, and the codes
	}
	name := []string{"", "api", "api", "web", "beta"}[g.r.IntN(5)]
	e.Route = []byte(name)
	if name == "beta" {
		return "(other)" // beyond the limit of rows
	}
	return name
}

type randReader struct{ r *rand.Rand }

func (r randReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.r.Uint32())
	}
	return len(p), nil
}

func (g *traffic) batch(n int) *Batch {
	b := &Batch{Epoch: g.epoch}
	for range n {
		b.Items = append(b.Items, g.item())
	}
	b.LastSeq = g.seq
	return b
}

func testOptions(dir string) Options {
	return Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"),
		ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return testStart },
	}
}

// openStore opens a store. At the end of the test, it checks the store's promises and closes it.
func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.enter() == nil {
			s.leave()
			checkPromises(t, s)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func apply(t testing.TB, s *Store, b *Batch) {
	t.Helper()
	if err := s.Apply(b); err != nil {
		t.Fatal(err)
	}
}

func checkpoint(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
}

// recount folds all events that are still in the store, block by block.
func recount(t testing.TB, s *Store) (responses uint64, rows map[stats.Key]*stats.Row) {
	t.Helper()
	rows = map[stats.Key]*stats.Row{}
	for _, id := range blockIDs(t, s) {
		eachEvent(t, s, id, func(_ uint64, k catalogue.RowName, e *event.Event) {
			key := stats.Key{Hour: id.Hour, Host: k.Host, Method: k.Method, Label: k.Label, Route: k.Route}
			if !e.IsResponse() {
				return
			}
			responses++
			row, ok := rows[key]
			if !ok {
				key = stats.Key{Hour: id.Hour, Host: clone(k.Host), Method: clone(k.Method), Label: clone(k.Label), Route: clone(k.Route)}
				row = &stats.Row{}
				rows[key] = row
			}
			row.Add(e)
		})
	}
	return responses, rows
}

func clone(s string) string { return string([]byte(s)) }

// checkPromises compares totals, rows and events: applied = aggregated = stored events + deleted events. If no event
// was deleted, every row must equal a recount of its events, including every latency bin.
func checkPromises(t testing.TB, s *Store) {
	t.Helper()
	totals, aggregated, err := s.Account(context.Background())
	if err != nil {
		t.Errorf("account: %v", err)
		return
	}
	held, want := recount(t, s)
	if totals.Applied != aggregated || totals.Applied != held+totals.Deleted {
		t.Errorf("applied %d, aggregated %d, %d held + %d deleted", totals.Applied, aggregated, held, totals.Deleted)
	}
	if totals.Deleted > totals.Archived || totals.Archived > totals.Applied {
		t.Errorf("totals out of order: %+v", totals)
	}
	checks, err := s.Verify(context.Background())
	if text := problemsText(checks); err != nil || text != "" {
		t.Errorf("verify: %v\n%s", err, text)
	}
	sum := uint64(0)
	got := allRows(t, s)
	for key, encoded := range got {
		var row stats.Row
		if err := row.Decode([]byte(encoded)); err != nil {
			t.Errorf("row %v: %v", key, err)
		}
		sum += row.Count
	}
	if sum != aggregated {
		t.Errorf("rows sum to %d, aggregated says %d", sum, aggregated)
	}
	checkHours(t, s, got)
	if totals.Deleted > 0 {
		return
	}
	for key, row := range want {
		encoded, _ := row.AppendBinary(nil)
		if got[key] != string(encoded) {
			t.Errorf("row %v is not the fold of its events", key)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d rows, events make %d", len(got), len(want))
	}
}

// checkHours compares all rows with those of each single hour, which may come from memory alone.
func checkHours(t testing.TB, s *Store, all map[stats.Key]string) {
	t.Helper()
	hours := map[int64]bool{}
	for key := range all {
		hours[key.Hour] = true
	}
	got := map[stats.Key]string{}
	for hour := range hours {
		maps.Copy(got, rowsIn(t, s, hour, hour+1))
	}
	if !maps.Equal(got, all) {
		t.Errorf("%d rows hour by hour differ from all %d", len(got), len(all))
	}
}

// allRows returns every row in its encoded form.
func allRows(t testing.TB, s *Store) map[stats.Key]string {
	t.Helper()
	return rowsIn(t, s, -1<<62, 1<<62)
}

func rowsIn(t testing.TB, s *Store, from, to int64) map[stats.Key]string {
	t.Helper()
	out := map[stats.Key]string{}
	last := int64(-1 << 62)
	err := s.Rows(context.Background(), from, to, func(k stats.Key, r *stats.Row) error {
		encoded, err := r.AppendBinary(nil)
		if _, twice := out[k]; twice || k.Hour < last {
			t.Errorf("row %v twice or out of order", k)
		}
		last = k.Hour
		out[k] = string(encoded)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// pendingPlan plans all pending blocks of the first hour and epoch.
func pendingPlan(t testing.TB, s *Store, key string) *catalogue.Plan {
	t.Helper()
	pending, err := s.Pending(context.Background(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(pending) == 0 {
		t.Fatal("nothing is pending")
	}
	p := &catalogue.Plan{
		State: catalogue.Planned, Hour: pending[0].ID.Hour, Epoch: pending[0].Epoch, Key: key,
		FormatVersion: 1, Service: "shop", Instance: "a",
	}
	for _, block := range pending {
		if block.ID.Hour != p.Hour || block.Epoch != p.Epoch {
			continue
		}
		p.Blocks = append(p.Blocks, block.ID)
		p.Runs = append(p.Runs, block.Runs...)
		p.Rows += block.Rows
		p.Lines += block.Lines
		if block.MaxTime.After(p.MaxTime) {
			p.MaxTime = block.MaxTime
		}
	}
	return p
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
