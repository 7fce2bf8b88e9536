package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// The largest row that clients can cause has the longest names, every status and every latency bin.
const (
	longHost  = 255
	longLabel = 256
)

func longName(prefix string, n, size int) string {
	name := fmt.Sprintf("%s%d-", prefix, n)
	return name + strings.Repeat("x", size-len(name))
}

// fullRow returns a row of the maximum size.
func fullRow() *stats.Row {
	row := &stats.Row{}
	for i := range uint64(1300) {
		row.Add(&event.Event{
			Kind: event.KindRequest, Status: uint16(i % 1000), DurationMicros: 1 << (i % 40) * (1 + i/40),
			RequestBytes: 1 << 40, ResponseBytes: 1 << 40, ErrorType: []byte(longName("e", int(i%64), event.ErrorTypeBytesMax)),
		})
	}
	return row
}

// extremeRows returns rows of one hour: many with short names, many with long ones, and some of the maximum size.
func extremeRows() (keys []stats.Key, rows []*stats.Row, responses uint64) {
	hour := stats.HourOfMicros(testStart.UnixMicro())
	add := func(k stats.Key, row *stats.Row) {
		keys, rows = append(keys, k), append(rows, row)
		responses += row.Count
	}
	one := func() *stats.Row {
		row := &stats.Row{}
		row.Add(&event.Event{Kind: event.KindRequest, Status: 200, DurationMicros: 5})
		return row
	}
	for i := range 20_000 {
		add(stats.Key{Hour: hour, Host: "h", Method: "GET", Label: fmt.Sprintf("/%d", i)}, one())
	}
	for i := range 2000 {
		add(stats.Key{Hour: hour, Host: longName("h", i, longHost), Method: "GET", Label: longName("/", i, longLabel)}, one())
	}
	for i := range 40 {
		add(stats.Key{Hour: hour, Host: longName("f", i, longHost), Method: "GET", Label: longName("/", i, longLabel)}, fullRow())
	}
	return keys, rows, responses
}

// TestImportExtremeRows: names, entries and values of any size and number fit into the transactions of an import, and
// rows with a key that is given twice are added up.
func TestImportExtremeRows(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	keys, rows, responses := extremeRows()
	for range 2 {
		if err := s.ImportRows(t.Context(), keys, rows); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	e := ImportedEpoch{Epoch: testEpoch, LastSeq: 1 << 40, Responses: 2 * responses, Dropped: map[string]uint64{}, Drops: map[int64]stats.Drops{}}
	for i := range 30 { // objects with the maximum number of runs
		p := catalogue.Plan{Key: longName("v1/", i, 250), Epoch: testEpoch, Hour: keys[0].Hour}
		if i == 0 {
			p.Rows = 2 * responses
		}
		for at := uint64(1); len(p.Runs) < catalogue.RunsMax; {
			at += 2 + r.Uint64N(1<<30)
			p.Runs = append(p.Runs, catalogue.Run{First: at, Last: at + r.Uint64N(1<<20)})
			at = p.Runs[len(p.Runs)-1].Last
		}
		e.Plans = append(e.Plans, p)
	}
	for hour := range int64(100) { // the maximum number of reasons in every hour
		told := stats.Drops{}
		for i := range stats.ErrorTypesMax {
			told[longName("r", i, event.ErrorTypeBytesMax)] = stats.Drop{Seq: 1 << 60, Responses: 1 << 60}
		}
		e.Drops[hour] = told
	}
	if err := s.ImportEpoch(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	plans := 0
	if err := s.Plans(t.Context(), func(p *catalogue.Plan) error { plans += len(p.Runs) / catalogue.RunsMax; return nil }); err != nil || plans != len(e.Plans) {
		t.Errorf("%d whole plans, %v", plans, err)
	}
	totals, sum, err := s.Account(t.Context())
	if err != nil || sum != 2*responses || totals.Applied != sum {
		t.Errorf("%+v, %d in the rows, %v; want %d", totals, sum, err, 2*responses)
	}
	var changes []StateChange
	for i := range 8000 {
		changes = append(changes, StateChange{Key: fmt.Appendf(nil, "r%04d", i), Value: bytes.Repeat([]byte("x"), 600)})
	}
	if err := s.SetPathState(t.Context(), changes); err != nil {
		t.Error(err)
	}
}

// extremeEvents returns events of rows with long names, in which each row has many statuses.
func extremeEvents(seq *uint64, names, statuses int) (b *Batch) {
	b = &Batch{Epoch: testEpoch}
	for i := range names {
		host, label := longName("h", i, longHost), longName("/", i, longLabel)
		for n := range statuses {
			*seq++
			b.Items = append(b.Items, Item{Seq: *seq, Host: host, Method: "GET", Label: label, Event: event.Event{
				TimeMicros: testStart.UnixMicro(), Kind: event.KindRequest, Status: uint16(n), DurationMicros: 1 << (n % 40),
				Method: []byte("GET"), Host: []byte(host), Path: []byte(label),
			}})
		}
	}
	b.LastSeq = *seq
	return b
}

// TestExtremeRows: a checkpoint, sums over a day and forgetting work with rows of any size.
func TestExtremeRows(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Now, o.LiveRowsMax = func() time.Time { return testStart.AddDate(0, 0, 3) }, 1<<20
	s := openStore(t, o)
	seq := uint64(0)
	apply(t, s, extremeEvents(&seq, 4000, 1))
	for range 4 {
		apply(t, s, extremeEvents(&seq, 8, 999))
	}
	checkpoint(t, s)
	for more := true; more; {
		var err error
		if more, err = s.Rollup(t.Context(), rollupTime); err != nil {
			t.Fatal(err)
		}
	}
	done, err := s.Forget(t.Context(), &Forget{
		Row:   func(_, _, label string) bool { return strings.HasPrefix(label, "/") },
		Event: func(string, string, []byte) bool { return true },
		Path:  "(forgotten)",
		PathState: func() (all []StateChange) {
			for i := range 9000 {
				all = append(all, StateChange{Key: fmt.Appendf(nil, "r%04d", i)})
			}
			return all
		}(),
	})
	if err != nil || done.Names != 4000 || done.Hours != 4000 || done.Responses != seq {
		t.Errorf("%+v, %v; %d responses", done, err, seq)
	}
}

// TestForgetFullRows: rows of any size are merged.
func TestForgetFullRows(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	keys, rows, responses := extremeRows()
	if err := s.ImportRows(t.Context(), keys, rows); err != nil {
		t.Fatal(err)
	}
	if err := s.ImportEpoch(t.Context(), ImportedEpoch{
		Epoch: testEpoch, LastSeq: 1, Responses: responses, Plans: []catalogue.Plan{{Key: "v1/x", Epoch: testEpoch, Hour: keys[0].Hour, Rows: responses}},
	}); err != nil {
		t.Fatal(err)
	}
	all := func(string, string, string) bool { return true }
	done, err := s.Forget(t.Context(), &Forget{Row: all, Event: func(string, string, []byte) bool { return false }})
	if err != nil || done.Hours != len(keys) || done.Responses != responses {
		t.Errorf("%+v, %v; want %d rows, %d responses", done, err, len(keys), responses)
	}
}

// TestEventChangesWholePathTable: even if a single event, which cannot be divided, changes the whole table, it is
// applied.
func TestEventChangesWholePathTable(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	b := newTraffic(1).batch(1)
	for i := range 9000 {
		b.PathState = append(b.PathState, StateChange{Key: fmt.Appendf(nil, "r%04d", i), Value: bytes.Repeat([]byte("x"), 600)})
	}
	apply(t, s, b)
	found := 0
	if err := s.PathState(func(_, _ []byte) error { found++; return nil }); err != nil || found != 9000 {
		t.Errorf("%d entries of path state, %v", found, err)
	}
}

// TestImportFromLargeBlocks: blocks that do not compress are rewritten, however large they are.
func TestImportFromLargeBlocks(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	r := rand.NewChaCha8([32]byte{1})
	p := &catalogue.Plan{Hour: stats.HourOfMicros(testStart.UnixMicro()), Epoch: testEpoch, Key: "v1/x"}
	seq := uint64(0)
	for range 20 {
		b := &Batch{Epoch: testEpoch}
		for range 200 {
			seq++
			path := make([]byte, event.PathBytesMax)
			_, _ = r.Read(path)
			b.Items = append(b.Items, Item{Seq: seq, Host: "h", Method: "GET", Label: otherLabel, Event: event.Event{
				TimeMicros: testStart.UnixMicro(), Kind: event.KindRequest, Status: 200, Path: path,
			}})
		}
		b.LastSeq = seq
		apply(t, s, b)
		p.Runs = append(p.Runs, catalogue.Run{First: seq, Last: seq})
		p.Rows++
		p.Lines++
	}
	if err := s.ImportObject(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if totals, err := s.Totals(); err != nil || totals.Deleted != 20 {
		t.Errorf("%+v, %v", totals, err)
	}
}

// TestPlanWithAllRuns: a plan with the maximum number of blocks and runs goes through all its states.
func TestPlanWithAllRuns(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	r := rand.New(rand.NewPCG(1, 1))
	p := &catalogue.Plan{State: catalogue.Planned, Epoch: testEpoch, Key: longName("v1/", 1, 250), Hour: stats.HourOfMicros(testStart.UnixMicro())}
	seq := uint64(1 << 50)
	for len(p.Runs) < catalogue.RunsMax {
		b := &Batch{Epoch: testEpoch}
		for range 512 {
			seq += 2 + r.Uint64N(1<<20)
			b.Items = append(b.Items, Item{Seq: seq, Host: "h", Method: "GET", Label: "/", Event: event.Event{
				TimeMicros: testStart.UnixMicro(), Kind: event.KindRequest, Status: 200, Path: []byte("/"),
			}})
			p.Runs = append(p.Runs, catalogue.Run{First: seq, Last: seq})
		}
		b.LastSeq = seq
		apply(t, s, b)
	}
	checkpoint(t, s)
	p.Blocks = blockIDs(t, s)
	p.Rows, p.Lines = uint64(len(p.Runs)), uint64(len(p.Runs))
	if err := s.AddPlan(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkVerified(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBlocks(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}
