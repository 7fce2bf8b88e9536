package load

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBitmap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b Bitmap
		inA, inB := map[uint64]bool{}, map[uint64]bool{}
		nonces := rapid.SliceOf(rapid.Uint64Range(0, 3*chunkBits))
		for _, n := range nonces.Draw(t, "a") {
			if a.Set(n) == inA[n] {
				t.Fatalf("Set(%d) reported the opposite", n)
			}
			inA[n] = true
		}
		for _, n := range nonces.Draw(t, "b") {
			b.Set(n)
			inB[n] = true
		}
		var want []uint64
		for n := range inA {
			if !a.Has(n) {
				t.Fatalf("%d is not in the set", n)
			}
			if !inB[n] {
				want = append(want, n)
			}
		}
		slices.Sort(want)
		count, first := a.Missing(&b, 3)
		if a.Count() != uint64(len(inA)) || count != uint64(len(want)) || !slices.Equal(first, want[:min(3, len(want))]) {
			t.Fatalf("count %d of %d, missing %d %v, want %v", a.Count(), len(inA), count, first, want)
		}
	})
	var b Bitmap
	if b.Set(NonceMax+1) || b.Has(NonceMax+1) || !b.Set(NonceMax) || b.Count() != 1 {
		t.Error("limits")
	}
}

func TestHistogramQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 200).Draw(t, "values")
		var h, half Histogram
		for i, v := range values {
			if i%2 == 0 {
				h.Add(time.Duration(v))
			} else {
				half.Add(time.Duration(v))
			}
		}
		h.Merge(&half)
		slices.Sort(values)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		want := values[int(q*float64(len(values)-1))]
		got := int64(h.Quantile(q))
		if diff := max(got-want, want-got); diff > want/60 {
			t.Fatalf("quantile %v is %d, want %d", q, got, want)
		}
		if h.Count() != uint64(len(values)) || int64(h.Max()) != values[len(values)-1] {
			t.Fatalf("count %d, max %d", h.Count(), h.Max())
		}
	})
	var empty Histogram
	if empty.Quantile(0.5) != 0 || empty.Mean() != 0 {
		t.Error("an empty histogram is not zero")
	}
	empty.Add(-time.Second)
	empty.Add(1<<63 - 1)
	if empty.Quantile(0) != 0 || empty.Quantile(1) < 1<<62 {
		t.Error("extremes")
	}
}

func TestPathRoundTrip(t *testing.T) {
	if n, ok := Nonce(Path(nil, 12345)); n != 12345 || !ok {
		t.Error("a path does not read back")
	}
	for _, p := range []string{"/n/", "/n/x", "/m/1", "/n/99999999999999999999"} {
		if _, ok := Nonce([]byte(p)); ok {
			t.Errorf("%s holds a nonce", p)
		}
	}
}
