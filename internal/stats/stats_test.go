package stats

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/internal/event"
)

var update = flag.Bool("update", false, "write the golden files")

// TestBoundaries recomputes the table with exact arithmetic.
func TestBoundaries(t *testing.T) {
	const precision = 512
	root := new(big.Float).SetPrec(precision).SetInt64(2)
	for range 5 {
		root.Sqrt(root)
	}
	x := new(big.Float).SetPrec(precision).SetUint64(1 << 63)
	for j, got := range boundaries {
		want, accuracy := x.Int(nil)
		if accuracy != big.Exact {
			want.Add(want, big.NewInt(1))
		}
		if want.Uint64() != got {
			t.Errorf("boundary %d is %#x, want %#x", j, got, want)
		}
		x.Mul(x, root)
	}
}

func TestBinOf(t *testing.T) {
	before := 0
	check := func(v uint64) {
		i := binOf(v)
		lower, upper := math.Exp2(float64(i)/32), math.Exp2(float64(i+1)/32)
		if i < binsMax-1 && (float64(v) < lower*(1-1e-12) || float64(v) > upper*(1+1e-12)) {
			t.Fatalf("%d is in bin %d = [%v, %v)", v, i, lower, upper)
		}
	}
	for v := uint64(1); v < 1<<20; v++ {
		check(v)
		if i := binOf(v); i < before {
			t.Fatalf("bin of %d is below that of the value before", v)
		} else {
			before = i
		}
	}
	for shift := range 64 {
		for _, m := range boundaries {
			for d := -2; d <= 2; d++ {
				if v := m>>shift + uint64(d); v > 0 && v < 1<<62 {
					check(v)
				}
			}
		}
	}
	if binOf(math.MaxUint64) != binsMax-1 {
		t.Error("the largest value is beyond the last bin")
	}
}

func distributions(r *rand.Rand) map[string]func() uint64 {
	return map[string]func() uint64{
		"log-normal": func() uint64 { return uint64(math.Exp(8 + 1.2*r.NormFloat64())) },
		"bimodal": func() uint64 {
			if r.IntN(10) < 7 {
				return uint64(900 + 50*r.NormFloat64())
			}
			return uint64(250_000 + 20_000*math.Abs(r.NormFloat64()))
		},
		"heavy-tailed": func() uint64 { return uint64(200 / math.Pow(1-r.Float64(), 1/1.1)) },
		"uniform":      func() uint64 { return r.Uint64N(10_000_000) },
	}
}

// TestQuantileError compares quantiles with the exact ones, for one row and for rows merged from uneven parts.
func TestQuantileError(t *testing.T) {
	for name, draw := range distributions(rand.New(rand.NewPCG(1, 2))) {
		t.Run(name, func(t *testing.T) {
			parts := make([]Row, 24)
			var one, merged Row
			var exact []uint64
			for i := range 200_000 {
				e := event.Event{Kind: event.KindRequest, Status: 200, DurationMicros: draw()}
				one.Add(&e)
				parts[i*i%len(parts)].Add(&e)
				exact = append(exact, e.DurationMicros)
			}
			for i := range parts {
				merged.Merge(&parts[i])
			}
			slices.Sort(exact)
			for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1} {
				want := float64(exact[int(q*float64(len(exact)-1))])
				for _, row := range []*Row{&one, &merged} {
					got := row.Latency.Quantile(q)
					if math.Abs(got-want) > 0.011*want {
						t.Errorf("p%v is %v, exactly %v: off by %.3f %%", 100*q, got, want, 100*math.Abs(got-want)/want)
					}
				}
			}
			a, _ := one.AppendBinary(nil)
			b, _ := merged.AppendBinary(nil)
			if !slices.Equal(a, b) {
				t.Error("the merged row differs from the whole")
			}
		})
	}
}

func sample(n int, seed uint64) (events []event.Event) {
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range n {
		e := event.Event{
			Kind: event.KindRequest, Status: uint16(200 + 100*r.IntN(4) + r.IntN(5)),
			DurationMicros: r.Uint64N(1 << r.UintN(34)), RequestBytes: r.Uint64N(1000), ResponseBytes: r.Uint64N(100_000),
		}
		switch r.IntN(20) {
		case 0:
			e.Kind, e.TTFBMicros = event.KindStream, r.Uint64N(5000)
		case 1:
			e.Kind = event.KindDrop
		case 2:
			e.ErrorType = fmt.Appendf(nil, "kind_%d", i%7)
		case 3:
			e.Status = 12345
		}
		events = append(events, e)
	}
	return events
}

// TestRowIsPure adds the same events in several orders and groups, with and without encoding in between.
func TestRowIsPure(t *testing.T) {
	events := sample(5000, 1)
	var want Row
	for i := range events {
		want.Add(&events[i])
	}
	encoded, _ := want.AppendBinary(nil)
	r := rand.New(rand.NewPCG(3, 3))
	for range 5 {
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		var got, part Row
		for i := range events {
			part.Add(&events[i])
			if r.IntN(500) == 0 || i == len(events)-1 {
				b, _ := part.AppendBinary(nil)
				var again Row
				if err := again.Decode(b); err != nil {
					t.Fatal(err)
				}
				got.Merge(&again)
				part.Reset()
			}
		}
		if b, _ := got.AppendBinary(nil); !slices.Equal(b, encoded) {
			t.Fatal("the row depends on the order of the events")
		}
		var copied Row
		copied.CopyFrom(&got)
		if b, _ := copied.AppendBinary(nil); !slices.Equal(b, encoded) {
			t.Fatal("the copy differs")
		}
	}
	if n, err := CountOf(encoded); err != nil || n != want.Count {
		t.Error(n, err)
	}
}

func TestRowCounts(t *testing.T) {
	var r Row
	for _, e := range []event.Event{
		{Kind: event.KindRequest, Status: 200, DurationMicros: 100, RequestBytes: 1, ResponseBytes: 10},
		{Kind: event.KindRequest, Status: 503, DurationMicros: 300, ResponseBytes: 20},
		{Kind: event.KindRequest, Status: 499, DurationMicros: 200, ErrorType: []byte("client_gone")},
		{Kind: event.KindStream, Status: 101, DurationMicros: 1 << 40, TTFBMicros: 400},
		{Kind: event.KindDrop, RequestBytes: 99},
	} {
		r.Add(&e)
	}
	r.Latency = Sketch{}
	want := Row{
		Count: 4, Errors: 2, Streams: 1, BytesIn: 1, BytesOut: 30, SumMicros: 1000, MaxMicros: 400,
		Status:     []StatusCount{{101, 1}, {200, 1}, {499, 1}, {503, 1}},
		ErrorTypes: []TypeCount{{"client_gone", 1}},
	}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(Sketch{})); diff != "" {
		t.Error(diff)
	}
	if r.Mean() != 250 {
		t.Error(r.Mean())
	}
	var empty Row
	if empty.Quantile(0.5) != 0 || empty.Mean() != 0 {
		t.Error("an empty row has a latency")
	}
}

func TestErrorTypesAreBounded(t *testing.T) {
	var r Row
	for i := range 10 * ErrorTypesMax {
		r.Add(&event.Event{Kind: event.KindRequest, ErrorType: fmt.Appendf(nil, "t%d", i)})
	}
	sum := uint64(0)
	for _, e := range r.ErrorTypes {
		sum += e.Count
	}
	if len(r.ErrorTypes) > ErrorTypesMax+1 || sum != r.Count {
		t.Errorf("%d types, %d of %d", len(r.ErrorTypes), sum, r.Count)
	}
	b, _ := r.AppendBinary(nil)
	if err := new(Row).Decode(b); err != nil {
		t.Error(err)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	events := sample(1000, 2)
	var r Row
	i := 0
	add := func() { r.Add(&events[i%len(events)]); i++ }
	for range events {
		add()
	}
	if n := testing.AllocsPerRun(len(events), add); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// sampleOfCalls returns a sample with gRPC calls among the requests.
func sampleOfCalls(n int, seed uint64) []event.Event {
	events := sample(n, seed)
	for i := range events {
		switch i % 5 {
		case 0:
			events[i].GRPCStatus = event.GRPCOf(i / 5 % 20) // 17 and above are other codes
		case 1:
			events[i].GRPCStatus = event.GRPCAbsent
		}
	}
	return events
}

// TestGoldenRow: a row is written in the oldest version that has everything it needs.
func TestGoldenRow(t *testing.T) {
	for version, events := range map[byte][]event.Event{1: sample(50, 4), 2: sampleOfCalls(50, 4)} {
		var r Row
		for _, e := range events {
			r.Add(&e)
		}
		b, _ := r.AppendBinary(nil)
		got := hex.EncodeToString(b) + "\n"
		name := fmt.Sprintf("testdata/row.v%d.hex", version)
		if *update {
			if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil || string(want) != got || b[0] != version {
			t.Errorf("the row format changed: %v\n%s", err, got)
		}
		raw, err := hex.DecodeString(strings.TrimSpace(string(want)))
		if err != nil {
			t.Fatal(err)
		}
		var again Row
		if err := again.Decode(raw); err != nil || again.Count != r.Count || !slices.Equal(again.GRPC, r.GRPC) {
			t.Error(err)
		}
		raw[0] = RowVersion + 1
		if err := again.Decode(raw); !errors.Is(err, ErrVersion) || again.Count != 0 {
			t.Error(err)
		}
	}
}

// TestRowsOfCalls: rows with gRPC status codes are merged by addition in each of the three ways, and errors follow the
// codes.
func TestRowsOfCalls(t *testing.T) {
	events := sampleOfCalls(400, 9)
	var whole, merged, added Row
	failed := uint64(0)
	for part := range 4 {
		var r Row
		for i, e := range events {
			if i%4 == part {
				r.Add(&e)
				whole.Add(&e)
				if e.IsResponse() && e.IsError() {
					failed++
				}
			}
		}
		merged.Merge(&r)
		b, _ := r.AppendBinary(nil)
		if err := added.AddEncoded(b); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := whole.AppendBinary(nil)
	for name, r := range map[string]*Row{"merged": &merged, "added": &added} {
		if got, _ := r.AppendBinary(nil); !slices.Equal(got, want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
	if whole.Errors != failed || len(whole.GRPC) == 0 || whole.GRPC[len(whole.GRPC)-1].Code != event.GRPCCodeOther {
		t.Errorf("%d errors, want %d; codes %v", whole.Errors, failed, whole.GRPC)
	}
	var copied Row
	if copied.CopyFrom(&whole); !slices.Equal(copied.GRPC, whole.GRPC) {
		t.Errorf("copied %v", copied.GRPC)
	}
	for name, tail := range map[string][]byte{"no code": {0}, "more calls than responses": {1, 2, 200, 200, 1}, "a code above 16": {1, 18, 1}, "a code twice": {2, 1, 1, 0, 1}} {
		var r Row
		r.Add(&event.Event{Kind: event.KindRequest, Status: 200})
		b, _ := r.AppendBinary(nil)
		b[0] = versionWithGRPC
		if err := new(Row).Decode(append(b, tail...)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRowDecode(f *testing.F) {
	for seed := range uint64(4) {
		var r Row
		for _, e := range sample(int(10*seed), seed) {
			r.Add(&e)
		}
		b, _ := r.AppendBinary(nil)
		f.Add(b)
		for _, e := range sampleOfCalls(int(10*seed), seed) {
			r.Add(&e)
		}
		b, _ = r.AppendBinary(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Row
		if err := r.Decode(b); err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		again, _ := r.AppendBinary(nil)
		if !slices.Equal(again, b) {
			t.Fatalf("%x was read, %x written", b, again)
		}
		_ = r.Quantile(0.99)
	})
}

func BenchmarkSketch(b *testing.B) {
	events := sample(4096, 5)
	var s Sketch
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		s.Add(events[n%len(events)].DurationMicros)
	}
}

func BenchmarkRowAdd(b *testing.B) {
	events := sample(4096, 6)
	var r Row
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		r.Add(&events[n%len(events)])
	}
}
