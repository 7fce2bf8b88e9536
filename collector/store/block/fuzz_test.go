package block

import (
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/collector/store/storeerr"
	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// goldenBlock returns a block that an earlier build wrote. The store's own tests compare its events.
func goldenBlock(t testing.TB, version string) []byte {
	t.Helper()
	text, err := os.ReadFile("../testdata/block." + version + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	block, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// TestRewrite: a block that is rewritten without a change stays the same; one that is rewritten without some of its
// events contains the others.
func TestRewrite(t *testing.T) {
	for _, version := range []string{"v1", "v2", "v3", "v4"} {
		d := NewDecoder()
		defer d.Close()
		e := NewEncoder()
		defer e.Close()
		rewrite := func(value []byte, keep func(*Item) bool) []byte {
			t.Helper()
			if err := errors.Join(d.Open(catalogue.BlockID{}, value), Rewrite(e, d, keep)); err != nil {
				t.Fatal(err)
			}
			return e.Append(nil)
		}
		items := func(value []byte) (out []string) {
			t.Helper()
			if err := d.Open(catalogue.BlockID{}, value); err != nil {
				t.Fatal(err)
			}
			err := Rewrite(e, d, func(it *Item) bool {
				record := make([]byte, it.Event.Size())
				it.Event.Encode(record)
				out = append(out, it.Host+it.Method+it.Label+it.Route+hex.EncodeToString(record))
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		golden := goldenBlock(t, version)
		all := items(golden)
		same := rewrite(golden, func(*Item) bool { return true })
		if got := items(same); strings.Join(got, "\n") != strings.Join(all, "\n") || same[0] != golden[0] {
			t.Errorf("%s: %d events became %d", version, len(all), len(got))
		}
		n := 0
		odd := rewrite(golden, func(*Item) bool { n++; return n%2 == 1 })
		got := items(odd)
		if len(got) != (len(all)+1)/2 || d.Header.Records != len(got) {
			t.Errorf("%s: %d of %d events are left, the header says %d", version, len(got), len(all), d.Header.Records)
		}
		for i, item := range got {
			if item != all[2*i] {
				t.Errorf("%s: event %d has changed", version, 2*i)
			}
		}
	}
}

func FuzzBlockDecode(f *testing.F) {
	d := NewDecoder()
	for _, version := range []string{"v1", "v2", "v3", "v4"} {
		if err := d.Open(catalogue.BlockID{}, goldenBlock(f, version)); err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte(nil), d.plain...))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		// Past the checksum, the columns must be either read or rejected, whatever they contain.
		if !d.columns.open(1+byte(len(payload)%version), payload) {
			return
		}
		for range EventsMax {
			if _, _, ok := d.columns.next(); !ok {
				return
			}
		}
	})
}

func FuzzBlockOpen(f *testing.F) {
	d := NewDecoder()
	f.Add(goldenBlock(f, "v1"))
	f.Add(goldenBlock(f, "v2"))
	f.Add(goldenBlock(f, "v3"))
	f.Add(goldenBlock(f, "v4"))
	f.Fuzz(func(t *testing.T, value []byte) {
		if err := d.Open(catalogue.BlockID{}, value); err != nil && !errors.Is(err, storeerr.ErrDamaged) && !errors.Is(err, storeerr.ErrSchema) {
			t.Fatal(err)
		}
	})
}
