package stats

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch/store"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// stated is the maximum relative error of a percentile.
const stated = 0.011

// drawHour draws the latencies of one hour. Their scale differs from hour to hour.
func drawHour(r *rand.Rand, draw func() uint64, n int) (row *Row, exact []uint64) {
	scale := math.Exp(r.NormFloat64() / 2)
	row = new(Row)
	for range n {
		v := uint64(float64(draw()) * scale)
		row.Add(&event.Event{Kind: event.KindRequest, Status: 200, DurationMicros: v})
		exact = append(exact, v)
	}
	return row, exact
}

// TestAtLeast compares counts from a latency on with those of the bins.
func TestAtLeast(t *testing.T) {
	var s Sketch
	for micros := range uint64(5000) {
		s.Add(micros)
	}
	for _, micros := range []uint64{0, 1, 2, 31, 32, 1000, 4999, 5000, 1 << 50} {
		want := s.Zeros()
		if micros > 0 {
			want = 0
		}
		s.Bins(func(index int, count uint64) {
			if micros == 0 || index >= binOf(micros) {
				want += count
			}
		})
		if got := s.AtLeast(micros); got != want {
			t.Errorf("from %d µs on: %d, want %d", micros, got, want)
		}
	}
	if got := new(Sketch).AtLeast(7); got != 0 {
		t.Errorf("an empty sketch: %d", got)
	}
}

// TestUnionsOfHours draws hours of very different sizes, and compares the percentiles of random unions of them, from
// one hour to all, with the exact ones. It computes each union in the three ways that queries use, which must agree in
// every bin.
func TestUnionsOfHours(t *testing.T) {
	hours, unions, most := 40, 25, 20_000
	if n, err := strconv.Atoi(os.Getenv("WAYSIDE_UNIONS")); err == nil {
		most = n // number of responses in the largest hour
	}
	for name, draw := range distributions(rand.New(rand.NewPCG(11, 12))) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(13, uint64(len(name))))
			rows, exact, encoded := make([]*Row, hours), make([][]uint64, hours), make([][]byte, hours)
			for i := range rows {
				n := 1 + int(float64(most)*math.Pow(r.Float64(), 4)) // many small hours, few large ones
				rows[i], exact[i] = drawHour(r, draw, n)
				encoded[i], _ = rows[i].AppendBinary(nil)
			}
			worst, largest := 0.0, 0
			for u := range unions {
				chosen := r.Perm(hours)[:1+r.IntN(hours)]
				if u == 0 {
					chosen = r.Perm(hours)
				}
				var merged, added, decoded Row
				var all []uint64
				for _, i := range chosen {
					var one Row
					if err := errors.Join(added.AddEncoded(encoded[i]), one.Decode(encoded[i])); err != nil {
						t.Fatal(err)
					}
					merged.Merge(rows[i])
					decoded.Merge(&one)
					all = append(all, exact[i]...)
				}
				slices.Sort(all)
				largest = max(largest, len(all))
				for _, q := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
					want := float64(all[int(q*float64(len(all)-1))])
					got := merged.Latency.Quantile(q)
					off := math.Abs(got-want) / max(want, 1e-9)
					if want == 0 {
						off = got
					}
					worst = max(worst, off)
					if off > stated {
						t.Errorf("p%g of %d responses of %d hours is %g, exactly %g: off by %.3f %%", 100*q, len(all), len(chosen), got, want, 100*off)
					}
					if whole := float64(merged.Quantile(q)); math.Abs(whole-want) > stated*want+0.5 {
						t.Errorf("p%g in whole µs is %g, exactly %g", 100*q, whole, want)
					}
				}
				a, _ := merged.AppendBinary(nil)
				b, _ := added.AppendBinary(nil)
				c, _ := decoded.AppendBinary(nil)
				if !slices.Equal(a, b) || !slices.Equal(a, c) {
					t.Fatal("merging, adding encoded rows and decoding them first give different rows")
				}
			}
			t.Logf("%d unions, the largest of %d responses: worst error %.3f %%", unions, largest, 100*worst)
		})
	}
}

// TestSketchEqualsLibrary compares bins, counts and quantiles with the library's collapsing store. Some counts exceed 16 bits, in one step
// or only when sketches are merged.
func TestSketchEqualsLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for i := range 200 {
		large := i%2 == 1
		s, scratch, lib := new(Sketch), new(Sketch), store.NewCollapsingLowestDenseStore(binsMax)
		zeros := uint64(0)
		for range 1 + r.IntN(50) {
			scratch.reset() // its memory is reused
			for range r.IntN(40) {
				if r.IntN(20) == 0 {
					scratch.Add(0)
					zeros++
					continue
				}
				v := 1 + r.Uint64N(1<<r.UintN(45))
				count := uint64(1)
				if large && r.IntN(10) == 0 {
					count = r.Uint64N(1 << (10 + r.UintN(25)))
				}
				if err := scratch.AddBin(binOf(v), count); err != nil {
					t.Fatal(err)
				}
				lib.AddWithCount(binOf(v), float64(count))
			}
			if r.IntN(2) == 0 {
				s.Merge(scratch)
				continue
			}
			in := varint.Reader{Rest: scratch.appendBinary(nil)}
			if n := s.addEncoded(&in); n != scratch.Count() || !in.Done() {
				t.Fatalf("%d latencies were added instead of %d", n, scratch.Count())
			}
		}
		if s.Count() != zeros+uint64(lib.TotalCount()) || s.Zeros() != zeros {
			t.Fatalf("%d latencies, %d zeros, want %v, %d", s.Count(), s.Zeros(), lib.TotalCount(), zeros)
		}
		theirs := map[int]uint64{}
		lib.ForEach(func(index int, count float64) bool { theirs[index] = uint64(count); return false })
		before := -1
		s.Bins(func(index int, count uint64) {
			if index <= before || theirs[index] != count {
				t.Fatalf("bin %d has %d, want %d", index, count, theirs[index])
			}
			before = index
			delete(theirs, index)
		})
		if len(theirs) > 0 {
			t.Fatalf("bins %v are missing", theirs)
		}
		if lib.IsEmpty() {
			continue
		}
		for q := 0.0; q <= 1; q += 0.01 {
			rank := q * float64(s.Count()-1)
			want := 0.0
			if rank >= float64(zeros) {
				want = latencyMapping.Value(lib.KeyAtRank(rank - float64(zeros)))
			}
			if got := s.Quantile(q); got != want {
				t.Fatalf("q %v: %v, want %v", q, got, want)
			}
		}
	}
}

// TestAddEncodedRefuses passes rows that do not add up to AddEncoded and Decode, which must reject them.
func TestAddEncodedRefuses(t *testing.T) {
	var r Row
	for _, e := range sample(300, 9) {
		r.Add(&e)
	}
	good, _ := r.AppendBinary(nil)
	for cut := range good {
		if new(Row).AddEncoded(good[:cut]) == nil || new(Row).Decode(good[:cut]) == nil {
			t.Fatalf("%d of %d bytes were accepted as a row", cut, len(good))
		}
	}
	if new(Row).AddEncoded(append(slices.Clone(good), 0)) == nil {
		t.Error("a row with an extra byte was accepted")
	}
}

// TestQuantilesTogether: percentiles that are computed together equal those that are computed one by one.
func TestQuantilesTogether(t *testing.T) {
	shares := []float64{-1, 0, 0.25, 0.5, 0.5, 0.9, 0.95, 0.99, 0.999, 1, 2}
	for name, draw := range distributions(rand.New(rand.NewPCG(5, 5))) {
		for _, n := range []int{0, 1, 2, 50, 3000} {
			var s Sketch
			for i := range n {
				if i%7 == 3 {
					s.Add(0)
					continue
				}
				s.Add(draw())
			}
			together := make([]float64, len(shares))
			s.Quantiles(together, shares...)
			for i, share := range shares {
				if one := s.Quantile(share); one != together[i] {
					t.Errorf("%s, %d latencies, share %g: %g together, %g alone", name, n, share, together[i], one)
				}
			}
		}
	}
}
