package store

import (
	"math"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// TestWatermarkHoles: the events that a store has lost are those between the watermark at that time and the next event
// that is applied.
func TestWatermarkHoles(t *testing.T) {
	const end = math.MaxUint64
	var w watermark
	s := openStore(t, testOptions(t.TempDir()))
	check := func(what string, open bool, taken ...catalogue.Run) {
		t.Helper()
		if got := w.taken(); w.open() != open || !slices.Equal(got, taken) {
			t.Errorf("%s: taken %v, open %v; want %v, %v", what, got, w.open(), taken, open)
		}
		epoch := uuid.New()
		if err := s.update(func(txn *badger.Txn) error { return w.write(txn, epoch) }); err != nil {
			t.Fatal(err)
		}
		var read watermark
		err := s.view(func(txn *badger.Txn) error {
			_, err := get(txn, epochKey(prefixWatermark, epoch), func(v []byte) (err error) {
				read, err = decodeWatermark(v)
				return err
			})
			return err
		})
		if err != nil || read.seq != w.seq || read.from != w.from || !slices.Equal(read.holes, w.holes) {
			t.Errorf("%s: %+v is read as %+v, %v", what, w, read, err)
		}
	}
	batch := func(first, last uint64) {
		w.took(first)
		w.seq = last
	}
	w.lost()
	check("lost before anything was applied", false)
	batch(5, 10)
	check("applied", false, catalogue.Run{First: 5, Last: end})
	w.lost()
	w.lost()
	check("lost", true, catalogue.Run{First: 5, Last: 10})
	batch(21, 30)
	check("applied again", false, catalogue.Run{First: 5, Last: 10}, catalogue.Run{First: 21, Last: end})
	w.lost()
	batch(31, 40)
	check("nothing was lost", false, catalogue.Run{First: 5, Last: 10}, catalogue.Run{First: 21, Last: end})
	before := w
	for i := range uint64(holesMax + 3) {
		w.lost()
		batch(100+10*i, 105+10*i)
	}
	if len(w.holes) != holesMax || w.holes[holesMax-1].Last != 99+10*(holesMax+2) || !slices.Equal(before.taken(), []catalogue.Run{{First: 5, Last: 10}, {First: 21, Last: end}}) {
		t.Errorf("%d holes, %v; before %v", len(w.holes), w.holes, before.taken())
	}
	if taken := w.taken(); taken[0].First != 5 {
		t.Errorf("a hole that was forgotten counts as lost: %v", taken)
	}
}
