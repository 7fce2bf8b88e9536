package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/stats"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// known is a store whose content is known: every batch that was ever offered to it, and what it made of them.
type known struct {
	dir     string // of the store and its quarantine
	offered map[uuid.UUID][]*Batch
	rows    map[stats.Key]string
	totals  Totals
	marks   map[uuid.UUID]Mark
	ledgers []Ledger
}

// knownStore makes a store of some megabytes with everything in it: several epochs, hours and tables; plans in every state,
// one of them adopted; finished epochs. It is left as a kill leaves it, or closed.
func knownStore(t *testing.T, seed uint64, closed bool) *known {
	t.Helper()
	k := &known{dir: filepath.Join(t.TempDir(), "known"), offered: map[uuid.UUID][]*Batch{}}
	o := salvageOptions(filepath.Join(t.TempDir(), "made"))
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := rand.New(rand.NewPCG(seed, 7))
	g := newTraffic(seed)
	g.trace, g.step = true, 400_000
	for life := range 4 {
		g.epoch, g.seq = uuid.UUID{byte(life + 1), byte(seed)}, 0
		for range 12 {
			b := g.batch(200 + r.IntN(1200))
			b.PathState = []StateChange{{Key: fmt.Appendf(nil, "t%04d", b.LastSeq), Value: []byte("x")}}
			k.offered[g.epoch] = append(k.offered[g.epoch], b)
			apply(t, s, b)
			if r.IntN(4) == 0 {
				checkpoint(t, s)
			}
			if r.IntN(3) == 0 {
				archiveSome(t, s, r)
			}
		}
		if life < 2 {
			n := s.Marks()[g.epoch].Applied
			if err := s.Quarantine(g.epoch, g.seq, 3, nil, "three were lost"); err != nil {
				t.Fatal(err)
			}
			if err := s.SetLedger(Ledger{Epoch: g.epoch, Responses: n + 5, Recorded: n + 3, Dropped: map[string]uint64{"full": 2}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	k.rows, k.marks, k.ledgers = allRows(t, s), s.Marks(), s.Ledgers()
	if k.totals, err = s.Totals(); err != nil {
		t.Fatal(err)
	}
	checkPromises(t, s)
	if closed {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	copyTree(t, filepath.Dir(o.Dir), k.dir)
	return k
}

func salvageOptions(dir string) Options {
	o := testOptions(dir)
	o.MemTableBytes = 512 << 10
	o.OpenFreeMin = -1
	return o
}

// archiveSome plans the oldest hour, and takes some plans further.
func archiveSome(t *testing.T, s *Store, r *rand.Rand) {
	t.Helper()
	ctx := t.Context()
	p := pendingPlan(t, s, fmt.Sprintf("v1/%d", r.Uint64()))
	if err := s.AddPlan(ctx, p); err != nil {
		t.Fatal(err)
	}
	var plans []*catalogue.Plan
	if err := s.Plans(ctx, func(p *catalogue.Plan) error { plans = append(plans, p); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, p := range plans {
		switch {
		case p.State == catalogue.Planned && r.IntN(2) == 0:
			if err := s.MarkVerified(ctx, p); err != nil {
				t.Fatal(err)
			}
		case p.State == catalogue.Verified && r.IntN(2) == 0:
			checkpoint(t, s)
			if err := s.DeleteBlocks(ctx, p); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// damage flips bits in files of a store, cuts them off or removes them, and says what it did.
func damage(t *testing.T, r *rand.Rand, dir string) string {
	t.Helper()
	var did []string
	for range 1 + r.IntN(3) {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, ".vlog") || filepath.Base(name) == "LOCK" })
		name := names[r.IntN(len(names))]
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) == 0 {
			continue
		}
		at := r.IntN(len(body))
		what := "flip"
		switch r.IntN(8) {
		case 0:
			body, what = body[:at], "cut"
		case 1:
			clear(body[at:min(len(body), at+1+r.IntN(64<<10))])
			what = "zero"
		default:
			body[at] ^= 1 << r.IntN(8)
		}
		did = append(did, fmt.Sprintf("%s %s at %d of %d", what, filepath.Base(name), at, len(body)))
		if r.IntN(20) == 0 {
			did = append(did, "remove it")
			err = os.Remove(name)
		} else {
			err = os.WriteFile(name, body, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(did, ", ")
}

// TestSalvage damages copies of stores whose content is known, at random. Whatever the damage: the store opens, all promises
// hold, every row that is whole equals the truth and no figure is larger; and when the spools offer again what lies behind the
// watermarks, nothing is counted twice. WAYSIDE_SALVAGE_TRIALS makes more of it, WAYSIDE_SALVAGE_SEED other.
func TestSalvage(t *testing.T) {
	trials, seed := 24, uint64(1)
	if n, err := strconv.Atoi(os.Getenv("WAYSIDE_SALVAGE_TRIALS")); err == nil {
		trials = n
	}
	if n, err := strconv.ParseUint(os.Getenv("WAYSIDE_SALVAGE_SEED"), 10, 64); err == nil {
		seed = n
	}
	stores := []*known{knownStore(t, seed, true), knownStore(t, seed+1, false)}
	aside, carried, kept := 0, 0, 0.0
	var heard strings.Builder
	for trial := range trials {
		r := rand.New(rand.NewPCG(seed, uint64(trial)))
		k := stores[trial%len(stores)]
		dir := t.TempDir()
		copyTree(t, k.dir, dir)
		o := salvageOptions(dir)
		heard.Reset()
		o.Logger = slog.New(slog.NewTextHandler(&heard, &slog.HandlerOptions{Level: slog.LevelWarn}))
		did := damage(t, r, o.Dir)
		s, err := Open(o)
		if err != nil {
			t.Fatalf("seed %d, trial %d (%s): %v", seed, trial, did, err)
		}
		if wasSetAside(t, &o) {
			aside++
			if n := mustTotals(t, s).Applied; n > 0 {
				carried++
				kept += float64(n) / float64(k.totals.Applied)
			}
		}
		// What is made of the rest must be right as it is made, not be found wrong and thrown away.
		if strings.Contains(heard.String(), "nothing was carried over from") && !strings.Contains(heard.String(), "cannot be read at all") {
			t.Error(heard.String())
		}
		k.check(t, s)
		k.offerAgain(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			reports, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store.txt"))
			for _, name := range reports {
				text, _ := os.ReadFile(name)
				t.Logf("%s", text)
			}
			t.Fatalf("seed %d, trial %d: %s", seed, trial, did)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
	t.Logf("seed %d: %d trials, %d stores set aside, something carried over from %d of them, %.0f %% of their responses on average",
		seed, trials, aside, carried, 100*kept/max(1, float64(carried)))
	if aside > 0 && carried == 0 {
		t.Error("nothing was ever carried over")
	}
}

func wasSetAside(t *testing.T, o *Options) bool {
	t.Helper()
	reports, err := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return len(reports) > 0
}

func mustTotals(t *testing.T, s *Store) Totals {
	t.Helper()
	totals, err := s.Totals()
	if err != nil {
		t.Fatal(err)
	}
	return totals
}

// check holds a store that came back from damage against the truth.
func (k *known) check(t *testing.T, s *Store) {
	t.Helper()
	checkPromises(t, s)
	totals := mustTotals(t, s)
	if totals.Applied > k.totals.Applied || totals.Archived > k.totals.Archived+k.totals.Applied || totals.Deleted > k.totals.Applied {
		t.Errorf("totals %+v of %+v", totals, k.totals)
	}
	k.checkRows(t, s)
	held := uint64(0)
	for epoch, mark := range s.Marks() {
		was := k.marks[epoch]
		if mark.Applied > was.Applied || mark.Applied+mark.Quarantined > was.Applied+was.Quarantined || mark.Seq > was.Seq {
			t.Errorf("epoch %s: %+v of %+v", epoch, mark, was)
		}
		held += mark.Applied
	}
	if held != totals.Applied {
		t.Errorf("the watermarks add up to %d, applied is %d", held, totals.Applied)
	}
	if diff := cmp.Diff(k.ledgers, s.Ledgers()); diff != "" { // they stand beside the store as well
		t.Errorf("ledgers (-before +after):\n%s", diff)
	}
	for _, l := range s.Ledgers() {
		if mark := s.Marks()[l.Epoch]; l.Recorded != mark.Applied+mark.Quarantined {
			t.Errorf("ledger %+v and watermark %+v", l, mark)
		}
	}
}

// checkRows: in each hour either every row is the true one, or the hour says less.
func (k *known) checkRows(t *testing.T, s *Store) {
	t.Helper()
	count := func(encoded string) uint64 {
		var row stats.Row
		if err := row.Decode([]byte(encoded)); err != nil {
			t.Fatal(err)
		}
		return row.Count
	}
	truth, sums := map[int64]uint64{}, map[int64]uint64{}
	for key, encoded := range k.rows {
		truth[key.Hour] += count(encoded)
	}
	rows := allRows(t, s)
	for key, encoded := range rows {
		sums[key.Hour] += count(encoded)
		if k.rows[key] == "" || count(encoded) > count(k.rows[key]) {
			t.Errorf("row %v counts %d", key, count(encoded))
		}
	}
	for key, encoded := range rows {
		if sums[key.Hour] == truth[key.Hour] && encoded != k.rows[key] {
			t.Errorf("row %v is not the true one", key)
		}
	}
}

// offerAgain offers every event behind the watermarks again, in the batches of old, and one event more.
func (k *known) offerAgain(t *testing.T, s *Store) {
	t.Helper()
	for _, batches := range k.offered {
		for _, b := range batches {
			apply(t, s, &Batch{Epoch: b.Epoch, LastSeq: b.LastSeq, Items: b.Items})
		}
	}
	checkPromises(t, s)
	k.checkRows(t, s)
	g := newTraffic(99)
	g.epoch = uuid.UUID{99}
	apply(t, s, g.batch(10))
	if _, err := s.Pending(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
}

// TestSalvageOneBlock flips one bit in a store: all but a small part must be carried over, and said so.
func TestSalvageOneBlock(t *testing.T) {
	k := knownStore(t, 5, true)
	dir := t.TempDir()
	copyTree(t, k.dir, dir)
	o := salvageOptions(dir)
	tables, _ := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	body, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	body[len(body)/2] ^= 8
	if err := os.WriteFile(tables[0], body, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := mustTotals(t, s).Applied; n < k.totals.Applied/2 || n > k.totals.Applied {
		t.Errorf("%d of %d responses were carried over", n, k.totals.Applied)
	}
	if doubtful, _ := s.Doubtful(uuid.UUID{77}); !doubtful {
		t.Error("an epoch of which nothing was carried over is not in doubt")
	}
	if err := s.NarrowDoubt(nil); err != nil {
		t.Fatal(err)
	}
	if doubtful, _ := s.Doubtful(uuid.UUID{4, 5}); !doubtful {
		t.Error("an epoch with events that wait is not in doubt once the spools have been heard")
	}
	k.check(t, s)
	reports, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store.txt"))
	if len(reports) != 1 || exists(salvageDir(&o)) {
		t.Fatal(reports)
	}
	text, err := os.ReadFile(reports[0])
	if err != nil || !strings.Contains(string(text), "Carried over into the store that took its place") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestSalvageCutShort: the end of the process at any step of a salvage leaves either the damaged store or the new one.
func TestSalvageCutShort(t *testing.T) {
	k := knownStore(t, 6, true)
	dir := t.TempDir()
	copyTree(t, k.dir, dir)
	o := salvageOptions(dir)
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	o.Logger = slog.New(slog.DiscardHandler)
	if _, err := salvage(&o); err != nil {
		t.Fatal(err)
	}
	if err := setStoreAside(&o, "test", "test"); err != nil { // and here it ends
		t.Fatal(err)
	}
	s := openStore(t, o)
	k.check(t, s)
	if got := mustTotals(t, s); got != k.totals {
		t.Errorf("of a store without damage %+v was carried over, it was %+v", got, k.totals)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Ended while at it, as often as is allowed: the damaged store is there, and in the end it is set aside.
	if err := os.MkdirAll(filepath.Join(salvageDir(&o), "view"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(salvageDir(&o), "tries"), []byte("111"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "MANIFEST"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if n := mustTotals(t, s).Applied; n != 0 || exists(salvageDir(&o)) {
		t.Errorf("%d responses were carried over by one try too many", n)
	}
}

// A limit that the store does not know keeps it from making a copy.
func TestRoom(t *testing.T) {
	o := testOptions(t.TempDir())
	room := int64(0)
	o.Room = func() int64 { return room }
	s := openStore(t, o)
	day := time.Now().Add(-72*time.Hour).Unix() / 3600 / 24 * 24
	rows, keys := []*stats.Row{new(stats.Row)}, []stats.Key{{Hour: day, Host: "h", Method: "GET", Label: "/a"}}
	rows[0].Add(&event.Event{Kind: event.KindRequest, Status: 200, DurationMicros: 5})
	if err := s.ImportRows(t.Context(), keys, rows); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "MANIFEST"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	room = 1000
	s = openStore(t, o)
	reports, err := filepath.Glob(filepath.Join(o.QuarantineDir, "*.txt"))
	if err != nil || len(reports) != 1 {
		t.Fatalf("reports %q, %v", reports, err)
	}
	if report, err := os.ReadFile(reports[0]); err != nil || !strings.Contains(string(report), "1000 bytes may still be written") {
		t.Errorf("the report is %s, %v", report, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Tables that cannot be opened leave no descriptor behind.
func TestDamagedTablesAreClosed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "000007.sst")
	if err := os.WriteFile(name, bytes.Repeat([]byte{0xff}, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	for range 50 {
		if err := checkTable(name); err == nil {
			t.Fatal("rubbish is a table")
		}
	}
	if after := open(); after > before+10 {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}
