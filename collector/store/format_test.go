package store

import (
	"bytes"
	"crypto/tls"
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

// goldenItemsWithIDs returns the items of a version 2 block: request IDs of every form, and in between, events without
// one.
func goldenItemsWithIDs() []Item {
	items := goldenItems()
	for i, id := range []string{"0192f3a4-5b6c-7d8e-9f00-112233445566", "", "of-a-trusted-proxy", "0192F3A4-5B6C-7D8E-9F00-112233445566", strings.Repeat("x", event.RequestIDBytesMax)} {
		items[2*i].Event.RequestID = []byte(id)
	}
	return items
}

// goldenItemsWithTimes returns the items of a version 3 block.
func goldenItemsWithTimes() []Item {
	items := goldenItemsWithIDs()
	items[1].Event.RequestMicros, items[2].Event.WaitMicros = 1_700_000, 300
	items[4].Event.RequestMicros, items[4].Event.WaitMicros = 5_000_100, 5_000_000
	return items
}

// goldenItemsWithEdge returns the items of a version 4 block: routes on events and on rows, attempts, TLS and gRPC, and
// events without any of them.
func goldenItemsWithEdge() []Item {
	items := goldenItemsWithTimes()
	for _, i := range []int{0, 2, 5} {
		items[i].Event.Route, items[i].Route = []byte("api"), "api"
		items[i].Event.Attempts, items[i].Event.TLSVersion = uint8(i), tls.VersionTLS13
	}
	items[6].Route = "(other)" // the row's route can differ from the event's
	items[6].Event.Route = []byte("beta")
	items[8].Event.GRPCStatus, items[9].Event.GRPCStatus = event.GRPCOf(14), event.GRPCAbsent
	return items
}

// TestGoldenBlock reads blocks that an earlier build wrote. The bytes written today may differ because of the
// compressor's version, but the events read must not. The version is the oldest one that has everything the events
// need.
func TestGoldenBlock(t *testing.T) {
	for version, items := range [][]Item{1: goldenItems(), 2: goldenItemsWithIDs(), 3: goldenItemsWithTimes(), 4: goldenItemsWithEdge()} {
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
			key := catalogue.RowName{Host: items[i].Host, Method: items[i].Method, Label: items[i].Label, Route: items[i].Route}
			if !strings.Contains(got, fmt.Sprintf("%d %+v %x\n", items[i].Seq, key, record)) {
				t.Errorf("version %d: event %d has changed", version, i)
			}
		}
	}
}

// TestRowKeysOfRoutes: a row without a route has the same key as in older versions, and no key can be read in two ways.
func TestRowKeysOfRoutes(t *testing.T) {
	plain := appendRowKey(nil, &stats.Key{Host: "shop", Method: "GET", Label: "/a"})
	if want := "r\x80\x00\x00\x00\x00\x00\x00\x00\x04shop\x03GET/a"; string(plain) != want {
		t.Errorf("%q, want %q", plain, want)
	}
	long := stats.Key{Host: "shop", Method: strings.Repeat("M", routed-1), Label: "/a"}
	if got, err := parseRowKey(appendRowKey(nil, &long)); err != nil || got != long {
		t.Errorf("the longest method: %v", err)
	}
	for _, key := range []string{
		"r........\x04shop\x83\x80\x01GET\x00/a",    // an empty route, in the form of keys with a route
		"r........\x04shop\x83\x80\x01GET\x7froute", // truncated
	} {
		if got, err := parseRowKey([]byte(key)); err == nil {
			t.Errorf("%q is read as %+v", key, got)
		}
	}
}

func TestKeysSortByHour(t *testing.T) {
	hours := []int64{-1 << 62, -2, -1, 0, 1, 1 << 40}
	var before []byte
	for _, hour := range hours {
		for _, route := range []string{"", "api"} {
			k := stats.Key{Hour: hour, Host: "h\x00", Method: "", Label: "/{id}", Route: route}
			key := appendRowKey(nil, &k)
			if bytes.Compare(before, key) >= 0 {
				t.Errorf("hour %d does not sort", hour)
			}
			before = key
			if got, err := parseRowKey(key); err != nil || got != k {
				t.Errorf("%+v came back as %+v, %v", k, got, err)
			}
		}
		id := catalogue.BlockID{Hour: hour, Batch: 7, Index: 9}
		if got, err := parseBlockKey(blockKey(prefixBlock, id)); err != nil || got != id {
			t.Errorf("%+v came back as %+v, %v", id, got, err)
		}
	}
}
