package store

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
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
	a := newApplyBuffer()
	defer a.close()
	a.index(testEpoch, items)
	if err := a.encode(testEpoch, items, 1, testStart); err != nil {
		t.Fatal(err)
	}
	return a.bytes[:a.blocks[0].header]
}

// describe lists the content of a block.
func describe(t testing.TB, value []byte) string {
	t.Helper()
	d := block.NewDecoder()
	defer d.Close()
	if err := d.Open(catalogue.BlockID{}, value); err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v\n", d.Header)
	err := d.Each(func(seq uint64, key uint32, e *event.Event) error {
		record := make([]byte, e.Size())
		e.Encode(record)
		out += fmt.Sprintf("%d %+v %x\n", seq, d.Keys()[key], record)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// goldenItemsWithIDs make a block of version 2: request IDs of every form, and events without one between them.
func goldenItemsWithIDs() []Item {
	items := goldenItems()
	for i, id := range []string{"0192f3a4-5b6c-7d8e-9f00-112233445566", "", "of-a-trusted-proxy", "0192F3A4-5B6C-7D8E-9F00-112233445566", strings.Repeat("x", event.RequestIDBytesMax)} {
		items[2*i].Event.RequestID = []byte(id)
	}
	return items
}

// goldenItemsWithTimes make a block of version 3.
func goldenItemsWithTimes() []Item {
	items := goldenItemsWithIDs()
	items[1].Event.RequestMicros, items[2].Event.WaitMicros = 1_700_000, 300
	items[4].Event.RequestMicros, items[4].Event.WaitMicros = 5_000_100, 5_000_000
	return items
}

// TestGoldenBlock reads blocks that an earlier build wrote. The written bytes may differ with the compressor's version, the events read
// must not. The version is the oldest one that has all that the events need.
func TestGoldenBlock(t *testing.T) {
	for version, items := range [][]Item{1: goldenItems(), 2: goldenItemsWithIDs(), 3: goldenItemsWithTimes()} {
		if version == 0 {
			continue
		}
		name := fmt.Sprintf("testdata/block.v%d.hex", version)
		fresh := encodeBlock(t, items)
		if int(fresh[0]) != version {
			t.Errorf("version %d, want %d", fresh[0], version)
		}
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
		got, want := describe(t, golden), describe(t, fresh)
		if got != want {
			t.Errorf("the golden block reads\n%s\nwant\n%s", got, want)
		}
		for i := range items {
			record := make([]byte, items[i].Event.Size())
			items[i].Event.Encode(record)
			if !strings.Contains(got, fmt.Sprintf(" %x\n", record)) {
				t.Errorf("version %d: event %d has changed", version, i)
			}
		}
	}
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
