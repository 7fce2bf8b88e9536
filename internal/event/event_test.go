package event

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var goldenEpoch = uuid.MustParse("0192f3a4-5b6c-7d8e-9f00-112233445566")

// goldenEvents pin the record format: these bytes must always decode to these events.
func goldenEvents() []Event {
	return []Event{
		{
			TimeMicros: 1_790_000_000_123_456, Kind: KindRequest, Status: 200, DurationMicros: 1500, TTFBMicros: 1400,
			RequestBytes: 0, ResponseBytes: 5120, Method: []byte("GET"), Host: []byte("example.com"),
			Path: []byte("/users/42"), Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.1"), Client: []byte("192.0.2.0"),
		},
		{
			TimeMicros: 1_790_000_000_200_000, Kind: KindStream, Status: 101, DurationMicros: 3_600_000_000, TTFBMicros: 900,
			RequestBytes: 1 << 33, ResponseBytes: 1 << 40, Method: []byte("GET"), Host: []byte("example.com"),
			Path: []byte("/socket"), Upstream: []byte("unix:/run/app.sock"), Protocol: []byte("1.1"),
			TraceID: []byte("0af7651916cd43dd8448eb211c80319c"),
		},
		{
			TimeMicros: 1_790_000_000_300_000, Kind: KindRequest, Status: 502, DurationMicros: 210, Method: []byte("PROPFIND"),
			Host: []byte("example.com"), Path: []byte("/a%2Fb/\xff"), Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.0"),
			ErrorType: []byte("connect_refused"),
		},
		{TimeMicros: 1_790_000_000_400_000, Kind: KindDrop, ErrorType: []byte("full"), RequestBytes: 17},
	}
}

// goldenWithID is an event of version 2.
func goldenWithID() Event {
	e := goldenEvents()[2]
	e.RequestID = []byte("0192f3a4-5b6c-7d8e-9f00-112233445566")
	return e
}

// goldenWithTimes returns events of version 3, with and without a request ID.
func goldenWithTimes() []Event {
	a, b := goldenWithID(), goldenEvents()[0]
	a.RequestMicros, a.WaitMicros = 2_000_000, 5_000_100
	b.WaitMicros = 300
	return []Event{a, b}
}

// Records with a request time or a wait have a version of their own. A record of that version in which both are zero is
// rejected.
func TestTimesGolden(t *testing.T) {
	for i, want := range goldenWithTimes() {
		raw := golden(t, []string{"record-times-id.v3.hex", "record-times.v3.hex"}[i], encode(&want))
		var got Event
		if err := got.Decode(raw); err != nil || raw[0] != 3 {
			t.Fatal(err, raw[0])
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("decoded event differs (-want +got):\n%s", diff)
		}
	}
	plain := goldenEvents()[2]
	raw := append(encode(&plain), 0, 0, 0) // no ID, and two times of 0
	if raw[0] = 3; new(Event).Decode(raw) == nil {
		t.Error("a record of version 3 without a time is accepted")
	}
	if raw[len(raw)-1] = 1; new(Event).Decode(raw) != nil {
		t.Error("a record of version 3 with a time is refused")
	}
}

// An event without a request ID is written in the old format. A record of the new format with an empty ID is rejected.
func TestRequestIDGolden(t *testing.T) {
	want := goldenWithID()
	raw := golden(t, "record-request-id.v2.hex", encode(&want))
	var got Event
	if err := got.Decode(raw); err != nil || raw[0] != 2 {
		t.Fatal(err, raw[0])
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("decoded event differs (-want +got):\n%s", diff)
	}
	plain := goldenEvents()[2]
	if raw := encode(&plain); raw[0] != 1 {
		t.Errorf("version %d", raw[0])
	} else if raw = append(raw, 0); got.Decode(raw) == nil {
		t.Error("bytes after a record of version 1 are accepted")
	} else if raw[0] = 2; got.Decode(raw) == nil {
		t.Error("an empty id in version 2 is accepted")
	}
}

func encode(e *Event) []byte {
	buf := make([]byte, e.Size())
	return buf[:e.Encode(buf)]
}

func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(hex.Dump(got)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if hex.Dump(got) != string(want) {
		t.Errorf("%s: the encoding changed; a new format needs a new version\n%s", name, cmp.Diff(string(want), hex.Dump(got)))
	}
	return got
}

func TestRecordGolden(t *testing.T) {
	for i, e := range goldenEvents() {
		raw := golden(t, []string{"record-request", "record-stream", "record-error", "record-drop"}[i]+".v1.hex", encode(&e))
		var got Event
		if err := got.Decode(raw); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("decoded event differs (-want +got):\n%s", diff)
		}
	}
}

func TestBatchGolden(t *testing.T) {
	b := NewBatchBuilder(goldenEpoch)
	seqs := []uint64{7, 8, 12, 1000}
	for i, e := range goldenEvents() {
		if err := b.Add(seqs[i], encode(&e), e.IsResponse()); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := ParseBatch(golden(t, "batch.v1.hex", b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if batch.Epoch != goldenEpoch || batch.FirstSeq != 7 || batch.LastSeq != 1000 || batch.Records != 4 || batch.Responses != 3 {
		t.Errorf("batch header: %+v", batch)
	}
	i := 0
	for seq, record := range batch.All() {
		want := encode(&goldenEvents()[i])
		if seq != seqs[i] || !bytes.Equal(record, want) {
			t.Errorf("record %d: seq %d, want %d", i, seq, seqs[i])
		}
		i++
	}
	if i != 4 {
		t.Errorf("iterated over %d records, want 4", i)
	}
}

func TestBatchRefusesDescendingSeq(t *testing.T) {
	b := NewBatchBuilder(goldenEpoch)
	e := goldenEvents()[0]
	if err := b.Add(5, encode(&e), true); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(5, encode(&e), true); !errors.Is(err, ErrMalformed) {
		t.Errorf("same seq again: %v", err)
	}
	if b.Len() != 1 {
		t.Errorf("the refused record was counted: %d", b.Len())
	}
}

func TestBatchDetectsEveryBitFlip(t *testing.T) {
	b := NewBatchBuilder(goldenEpoch)
	e := goldenEvents()[0]
	if err := b.Add(1, encode(&e), true); err != nil {
		t.Fatal(err)
	}
	raw := bytes.Clone(b.Bytes())
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if _, err := ParseBatch(raw); err == nil {
				t.Errorf("flip of bit %d of byte %d went unnoticed", bit, i)
			}
			raw[i] ^= 1 << bit
		}
	}
}

func TestFieldLimits(t *testing.T) {
	long := []byte(strings.Repeat("x", 5000))
	e := Event{
		Kind: KindRequest, DurationMicros: 1<<64 - 1, TTFBMicros: 1<<64 - 1, RequestBytes: 1<<64 - 1, ResponseBytes: 1<<64 - 1,
		RequestMicros: 1<<64 - 1, WaitMicros: 1<<64 - 1, Route: long, Attempts: 255, TLSVersion: tls.VersionTLS13, GRPCStatus: 255, Span: goldenSpan,
		Method: long, Host: long, Path: long, Upstream: long, Protocol: long, Client: long, TraceID: long, ErrorType: long, RequestID: long,
	}
	raw := encode(&e)
	if len(raw) > SizeMax {
		t.Errorf("record of %d bytes, SizeMax is %d", len(raw), SizeMax)
	}
	var got Event
	if err := got.Decode(raw); err != nil {
		t.Fatal(err)
	}
	if len(got.Path) != PathBytesMax || len(got.Method) != MethodBytesMax || len(got.ErrorType) != ErrorTypeBytesMax || len(got.RequestID) != RequestIDBytesMax ||
		len(got.Route) != RouteBytesMax {
		t.Errorf("lengths: path %d, method %d, error type %d", len(got.Path), len(got.Method), len(got.ErrorType))
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	e := goldenEvents()[0]
	raw := encode(&e)
	raw[0] = Version + 1
	if err := new(Event).Decode(raw); !errors.Is(err, ErrVersion) {
		t.Errorf("newer record: %v", err)
	}
	b := NewBatchBuilder(goldenEpoch)
	_ = b.Add(1, raw, true)
	batch := b.Bytes()
	batch[0] = BatchVersion + 1
	if _, err := ParseBatch(batch); !errors.Is(err, ErrVersion) {
		t.Errorf("newer batch: %v", err)
	}
}

func TestEncodeDoesNotAllocate(t *testing.T) {
	e := goldenEvents()[0]
	buf := make([]byte, SizeMax)
	var got Event
	if n := testing.AllocsPerRun(100, func() {
		size := e.Encode(buf)
		_ = got.Decode(buf[:size])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestID(t *testing.T) {
	id := ID(1_790_000_000_123_456, goldenEpoch, 42)
	if id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		t.Errorf("%s: version %d, variant %d", id, id.Version(), id.Variant())
	}
	if id.String() != "01a0c450-6c7b-71c8-"+id.String()[19:] {
		t.Errorf("%s does not start with its time", id)
	}
	if again := ID(1_790_000_000_123_456, goldenEpoch, 42); again != id {
		t.Errorf("%s, then %s", id, again)
	}
	seen := map[uuid.UUID]bool{}
	for seq := range uint64(100_000) {
		id := ID(1_790_000_000_123_456, goldenEpoch, seq)
		seen[id] = true
		if back := SeqOf(id, goldenEpoch); back != seq {
			t.Fatalf("%s was made from %d and says %d", id, seq, back)
		}
	}
	if len(seen) != 100_000 {
		t.Errorf("%d distinct IDs of 100000 in one microsecond", len(seen))
	}
}

func drawEvent(t *rapid.T) Event {
	text := func(name string, limit int) []byte {
		return rapid.SliceOfN(rapid.Byte(), 0, limit).Draw(t, name)
	}
	return Event{
		TimeMicros: rapid.Int64().Draw(t, "time"), Kind: Kind(rapid.IntRange(1, 3).Draw(t, "kind")),
		Status: rapid.Uint16().Draw(t, "status"), DurationMicros: rapid.Uint64().Draw(t, "duration"),
		TTFBMicros: rapid.Uint64().Draw(t, "ttfb"), RequestBytes: rapid.Uint64().Draw(t, "in"),
		ResponseBytes: rapid.Uint64().Draw(t, "out"),
		RequestMicros: rapid.Uint64Range(0, 3).Draw(t, "request"), WaitMicros: rapid.Uint64Range(0, 300).Draw(t, "wait"),
		Method:   rapid.OneOf(rapid.SampledFrom([][]byte{[]byte("GET"), []byte("PATCH")}), rapid.SliceOfN(rapid.Byte(), 0, 8)).Draw(t, "method"),
		Protocol: rapid.SampledFrom([][]byte{[]byte("1.0"), []byte("1.1"), []byte("x")}).Draw(t, "protocol"),
		Host:     text("host", 40), Path: text("path", 300), Upstream: text("upstream", 30), Client: text("client", 20),
		TraceID: text("trace", 32), ErrorType: text("error", 20), RequestID: text("request id", 128),
		Route:      rapid.SliceOfN(rapid.Byte(), 0, rapid.SampledFrom([]int{0, 20}).Draw(t, "route bytes")).Draw(t, "route"),
		Attempts:   rapid.SampledFrom([]uint8{0, 0, 2, 255}).Draw(t, "attempts"),
		TLSVersion: rapid.SampledFrom([]uint16{0, 0, tls.VersionTLS12, tls.VersionTLS13}).Draw(t, "tls"),
		GRPCStatus: GRPCStatus(rapid.SampledFrom([]uint8{0, 0, 1, 2, 3, grpcMax}).Draw(t, "grpc")),
		Span:       rapid.SampledFrom([]Span{{}, {}, {0: 1}, goldenSpan}).Draw(t, "span"),
	}
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		var got Event
		if err := got.Decode(encode(&want)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, e := range slices.Concat(goldenEvents(), goldenWithTimes(), goldenWithEdge(), goldenWithSpan(), []Event{goldenWithID()}) {
		f.Add(encode(&e))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e Event
		if e.Decode(raw) != nil {
			return
		}
		if again := encode(&e); raw[0] == Version && !bytes.Equal(again, raw) {
			t.Errorf("accepted %x, writes it as %x", raw, again)
		}
	})
}

func FuzzParseBatch(f *testing.F) {
	b := NewBatchBuilder(goldenEpoch)
	for i, e := range goldenEvents() {
		_ = b.Add(uint64(i), encode(&e), e.IsResponse())
	}
	f.Add(bytes.Clone(b.Bytes()))
	f.Fuzz(func(t *testing.T, raw []byte) {
		batch, err := ParseBatch(raw)
		if err != nil {
			return
		}
		n := uint32(0)
		for range batch.All() {
			n++
		}
		if n != batch.Records {
			t.Errorf("%d records, header says %d", n, batch.Records)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	e := goldenEvents()[0]
	buf := make([]byte, SizeMax)
	b.ReportAllocs()
	for b.Loop() {
		e.Encode(buf[:e.Size()])
	}
}

func BenchmarkDecode(b *testing.B) {
	e := goldenEvents()[0]
	raw := encode(&e)
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}
