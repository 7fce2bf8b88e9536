package uploader

import (
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// incompressible returns events with paths that do not compress below three quarters, so that their object is far
// larger than estimated.
func incompressible(n, bytes int) []memItem {
	items := plainEvents(n, testHour, 1)
	rng := rand.NewChaCha8([32]byte{2})
	for i := range items {
		path := make([]byte, bytes*3/4)
		_, _ = rng.Read(path)
		items[i].event.Path = base64.RawURLEncoding.AppendEncode([]byte("/"), path)
	}
	return items
}

// TestObjectLargerThanItsBuffer archives an object that does not fit into memory, without a folder for temporary files,
// and does so again after an upload of which only a part arrived.
func TestObjectLargerThanItsBuffer(t *testing.T) {
	smallBuffer(t)
	items := incompressible(1000, 2000)
	for name, place := range map[string]func(*testing.T) (place, *hostile){
		"directory": func(t *testing.T) (place, *hostile) { t.Helper(); return directory(t), nil },
		"versitygw": hostileBucket,
	} {
		t.Run(name, func(t *testing.T) {
			p, h := place(t)
			t.Setenv("TMPDIR", "/nonexistent")
			m := newMemStore(t)
			m.apply(testEpoch, testHour, 1000, items...)
			u, _ := newTest(t, m, p, func(o *Options) { o.ObjectBytes = 8 << 20 })
			u.archiver.estimate.ratio = 0.01
			if h != nil {
				var cut atomic.Bool
				h.set(puts(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
					if r.ContentLength > int64(bufferBytes) && cut.CompareAndSwap(false, true) {
						_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength-1000)
						reset(w)
						return
					}
					pass.ServeHTTP(w, r)
				}))
				if r, err := u.ArchiveOnce(t.Context(), true); err == nil || !cut.Load() {
					t.Fatalf("an upload that was cut off: %+v, %v", r, err)
				}
			}
			r, err := u.ArchiveOnce(t.Context(), true)
			if err != nil || r.Rows != 1000 || r.Bytes <= uint64(bufferBytes) {
				t.Fatalf("%+v, %v", r, err)
			}
			wantArchived(t, p, items)
		})
	}
}

// TestEstimateFollowsWhatIsTooLarge: after one object that was too large, the others of the same run are smaller, even
// if its upload failed.
func TestEstimateFollowsWhatIsTooLarge(t *testing.T) {
	const objectBytes = 64 << 10
	for _, fails := range []bool{false, true} {
		p := directory(t)
		m := newMemStore(t)
		items := incompressible(2000, 500)
		m.apply(testEpoch, testHour, 20, items...)
		broken := errors.New("not now")
		target := &faulty{Target: p.Target, put: func(string) error { err := broken; broken = nil; return err }}
		if !fails {
			broken = nil
		}
		u, _ := newTest(t, m, target, func(o *Options) { o.ObjectBytes = objectBytes })
		u.archiver.estimate.ratio = 0.1 // as if events had compressed well; if nothing is learned, this gives two objects of half a megabyte
		for range 2 {
			_, _ = u.ArchiveOnce(t.Context(), true) // the first fails, or the second has nothing to do
		}
		wantArchived(t, p, items)
		large := 0
		err := m.PlansIn(t.Context(), catalogue.Verified, func(p *catalogue.Plan) error {
			if p.ObjectBytes > 2*objectBytes {
				large++
			}
			return nil
		})
		if err != nil || large != 1 {
			t.Errorf("%d of %d objects are more than twice as large as they are to be, %v", large, m.planCount(), err)
		}
	}
}
