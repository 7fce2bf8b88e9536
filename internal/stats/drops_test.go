package stats

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func genDrops(rt *rapid.T) Drops {
	t := Drops{}
	for _, reason := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"full", "age", "disk", "damaged", ""}), rapid.ID).Draw(rt, "reasons") {
		t.Note(reason, Drop{rapid.Uint64().Draw(rt, "seq"), rapid.Uint64().Draw(rt, "responses")})
	}
	return t
}

func TestDropsRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		drops := genDrops(rt)
		text, _ := drops.AppendBinary(nil)
		back, err := DecodeDrops(text)
		if err != nil || !maps.Equal(back, drops) {
			rt.Fatalf("%v came back as %v, %v", drops, back, err)
		}
		if len(text) > 2 {
			if _, err := DecodeDrops(text[:len(text)-1]); !errors.Is(err, ErrMalformed) {
				rt.Fatalf("cut off: %v", err)
			}
		}
		text[0]++
		if _, err := DecodeDrops(text); !errors.Is(err, ErrVersion) {
			rt.Fatalf("newer: %v", err)
		}
	})
}

func FuzzDrops(f *testing.F) {
	text, _ := Drops{"full": {7, 300}, "age": {9, 1}}.AppendBinary(nil)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		drops, err := DecodeDrops(text)
		if err != nil {
			return
		}
		if again, _ := drops.AppendBinary(nil); string(again) != string(text) {
			t.Errorf("%x is read as %v, which is written as %x", text, drops, again)
		}
	})
}

// The order of the records, and repeated records, make no difference.
func TestDropsInAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(rt, "n")
		type record struct {
			hour   int64
			reason string
			Drop
		}
		var records []record
		for seq := range n {
			records = append(records, record{
				rapid.Int64Range(-2, 4).Draw(rt, "hour"), rapid.SampledFrom([]string{"full", "age"}).Draw(rt, "reason"),
				Drop{uint64(seq + 1), rapid.Uint64Range(0, 50).Draw(rt, "responses")},
			})
		}
		deltas := func(records []record) map[int64]map[string]uint64 {
			hours, out := map[int64]Drops{}, map[int64]map[string]uint64{}
			for _, r := range records {
				if hours[r.hour] == nil {
					hours[r.hour] = Drops{}
				}
				hours[r.hour].Note(r.reason, r.Drop)
			}
			Deltas(hours, func(hour int64, reason string, responses uint64) {
				if out[hour] == nil {
					out[hour] = map[string]uint64{}
				}
				out[hour][reason] += responses
			})
			return out
		}
		want := deltas(records)
		mixed := rapid.Permutation(append(slices.Clone(records), records...)).Draw(rt, "order")
		if got := deltas(mixed); !reflect.DeepEqual(got, want) {
			rt.Fatalf("%v in another order give %v, not %v", records, got, want)
		}
		last, sum := map[string]uint64{}, map[string]uint64{}
		for _, r := range records {
			last[r.reason] = r.Responses
		}
		for _, byReason := range want {
			for reason, responses := range byReason {
				sum[reason] += responses
			}
		}
		for reason, responses := range last {
			if sum[reason] != responses {
				rt.Fatalf("%s: the hours add up to %d, the last record is %d: %v", reason, sum[reason], responses, records)
			}
		}
	})
}

func TestDeltas(t *testing.T) {
	hours := map[int64]Drops{
		7: {"full": {Seq: 10, Responses: 100}},
		8: {"full": {Seq: 20, Responses: 130}, "age": {Seq: 21, Responses: 5}},
		9: {"full": {Seq: 30, Responses: 90}, "age": {Seq: 31, Responses: 5}}, // forty of the earlier drops turned out to be recorded
	}
	got := map[int64]map[string]uint64{}
	Deltas(hours, func(hour int64, reason string, responses uint64) {
		if got[hour] == nil {
			got[hour] = map[string]uint64{}
		}
		got[hour][reason] += responses
	})
	want := map[int64]map[string]uint64{7: {"full": 90}, 8: {"age": 5}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
