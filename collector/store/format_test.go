package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/collector/stats"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

var update = flag.Bool("update", false, "write the golden files")

func goldenItems() []Item {
	g := newTraffic(42)
	g.trace = true
	b := g.batch(40)
	b.Items[3].Event.Kind, b.Items[3].Event.ErrorType = event.KindDrop, []byte("full")
	b.Items[5].Event.Path = []byte("/fits/no/label")
	b.Items[7].Seq--
	return append(b.Items[:6:6], b.Items[7:]...)
}

func encodeBlock(t testing.TB, items []Item) []byte {
	t.Helper()
	a, err := newApplyBuffer()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	a.index(testEpoch, items)
	if err := a.encode(testEpoch, items, 1, testStart); err != nil {
		t.Fatal(err)
	}
	return a.bytes[:a.blocks[0].size]
}

// describe lists a block's content.
func describe(t testing.TB, value []byte) string {
	t.Helper()
	d, err := newBlockDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.open(catalogue.BlockID{}, value); err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v\n", d.meta)
	err = d.each(catalogue.BlockID{}, func(seq uint64, key uint32, e *event.Event) error {
		record := make([]byte, e.Size())
		e.Encode(record)
		out += fmt.Sprintf("%d %+v %x\n", seq, d.columns.keys[key], record)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGoldenBlock reads a block as an earlier build wrote it. What is written may differ with the compressor's version;
// what is read may not.
func TestGoldenBlock(t *testing.T) {
	const name = "testdata/block.v1.hex"
	items := goldenItems()
	fresh := encodeBlock(t, items)
	if *update {
		if err := os.WriteFile(name, []byte(hex.EncodeToString(fresh)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := describe(t, golden), describe(t, fresh); got != want {
		t.Errorf("the golden block reads\n%s\nwant\n%s", got, want)
	}
}

func FuzzBlockDecode(f *testing.F) {
	d, err := newBlockDecoder()
	if err != nil {
		f.Fatal(err)
	}
	golden := encodeBlock(f, goldenItems())
	if err := d.open(catalogue.BlockID{}, golden); err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte(nil), d.plain...))
	f.Fuzz(func(t *testing.T, payload []byte) {
		// Beyond the checksum: whatever the columns hold must be read or refused.
		if !d.columns.open(payload) {
			return
		}
		for range BlockEventsMax {
			if _, _, ok := d.columns.next(); !ok {
				return
			}
		}
	})
}

func FuzzBlockOpen(f *testing.F) {
	d, err := newBlockDecoder()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encodeBlock(f, goldenItems()))
	f.Fuzz(func(t *testing.T, value []byte) {
		if err := d.open(catalogue.BlockID{}, value); err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrSchema) {
			t.Fatal(err)
		}
	})
}

func TestKeysSortByHour(t *testing.T) {
	hours := []int64{-1 << 62, -2, -1, 0, 1, 1 << 40}
	var before []byte
	for _, hour := range hours {
		k := stats.Key{Hour: hour, Host: "h\x00", Method: "", Label: "/{id}"}
		key := appendRowKey(nil, &k)
		if bytes.Compare(before, key) >= 0 {
			t.Errorf("hour %d does not sort", hour)
		}
		before = key
		if got, err := parseRowKey(key); err != nil || got != k {
			t.Errorf("%+v came back as %+v, %v", k, got, err)
		}
		id := catalogue.BlockID{Hour: hour, Batch: 7, Index: 9}
		if got, err := parseBlockKey(blockKey(prefixBlock, id)); err != nil || got != id {
			t.Errorf("%+v came back as %+v, %v", id, got, err)
		}
	}
}
