package stats

import (
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestUntimed: responses without a latency count, and change no figure of latency. Their rows can be read back, merged and added up.
func TestUntimed(t *testing.T) {
	var timed, row Row
	for i := range 100 {
		e := event.Event{Kind: event.KindRequest, Status: 200, DurationMicros: uint64(1000 + 10*i)}
		timed.Add(&e)
		row.Add(&e)
	}
	for range 900 {
		row.AddUntimed(&event.Event{Kind: event.KindRequest, Status: 500, ResponseBytes: 7})
	}
	check := func(name string, r *Row, times uint64) {
		t.Helper()
		if r.Count != 1000*times || r.Untimed != 900*times || r.Errors != 900*times || r.BytesOut != 6300*times || r.Mean() != timed.Mean() ||
			r.Quantile(0.5) != timed.Quantile(0.5) || r.Quantile(0.99) != timed.Quantile(0.99) {
			t.Errorf("%s: %+v, mean %d, p50 %d", name, r, r.Mean(), r.Quantile(0.5))
		}
	}
	check("row", &row, 1)
	text, _ := row.AppendBinary(nil)
	if text[0] != RowVersion {
		t.Errorf("version %d", text[0])
	}
	var back, sum, merged Row
	if err := back.Decode(text); err != nil || !back.Equal(&row) {
		t.Errorf("%+v, %v", back, err)
	}
	check("decoded", &back, 1)
	for range 3 {
		if err := sum.AddEncoded(text); err != nil {
			t.Fatal(err)
		}
		merged.Merge(&row)
	}
	check("added up", &sum, 3)
	if !sum.Equal(&merged) {
		t.Error("a sum of encoded rows differs from the merged one")
	}
	var copied Row
	copied.CopyFrom(&row)
	check("copied", &copied, 1)
	copied.Reset()
	if copied.Untimed != 0 || copied.Mean() != 0 {
		t.Errorf("reset: %+v", copied)
	}
	// With gRPC statuses as well, and without any latency.
	var bare Row
	e := event.Event{Kind: event.KindRequest, Status: 200, GRPCStatus: event.GRPCOf(0)}
	bare.AddUntimed(&e)
	text, _ = bare.AppendBinary(nil)
	if err := back.Decode(text); err != nil || !back.Equal(&bare) || back.Quantile(0.5) != 0 {
		t.Errorf("%+v, %v", back, err)
	}
	for i := range text {
		if back.Decode(text[:i]) == nil {
			t.Errorf("cut off at %d: no error", i)
		}
	}
	for _, wrong := range []uint64{0, 2} { // not as many as there are responses without a latency
		bare.Untimed = wrong
		text, _ := bare.AppendBinary(nil)
		if back.Decode(text) == nil {
			t.Errorf("%d untimed of %d responses without a latency: no error", wrong, bare.Count)
		}
	}
}
