package accounting

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/spool"
)

func TestAccount(t *testing.T) {
	one, two := uuid.UUID{1}, uuid.UUID{2}
	active := []spool.Ledger{
		{Epoch: one, Responses: 110, Recorded: 100, Excluded: 4, Dropped: map[string]uint64{"full": 6}, Spooled: 10},
		{Epoch: two, Responses: 55, Recorded: 50, Dropped: map[string]uint64{"full": 1, "fault": 4}},
	}
	// These epochs are stored but not yet retired: the spool's own figures count, once. A ledger that was created
	// without a spool has less.
	stored := []spool.Ledger{{Epoch: two, Responses: 40, Recorded: 40}}
	view := func(aggregated uint64, totals Totals) *View {
		return &View{Ledgers: stored, Totals: totals, Aggregated: aggregated}
	}
	a := Account(active, view(138, Totals{Applied: 138, Quarantined: 2, Archived: 20, Deleted: 10}))
	if !a.Balanced || a.Settled || a.Responses != 165 || a.Recorded != 150 || a.Spooled != 10 || a.DroppedTotal != 11 || a.Dropped["full"] != 7 {
		t.Errorf("%+v", a)
	}
	if a := Account(active[1:], view(50, Totals{Applied: 50})); !a.Settled {
		t.Errorf("not settled: %+v", a)
	}
	for name, broken := range map[string]Accounting{
		"one is missing from the rows": Account(active, view(137, Totals{Applied: 138, Quarantined: 2})),
		"one was never applied":        Account(active, view(137, Totals{Applied: 137, Quarantined: 2})),
		"deleted before archived":      Account(active, view(138, Totals{Applied: 138, Quarantined: 2, Deleted: 1})),
		"a response is unaccounted":    Account([]spool.Ledger{{Epoch: one, Responses: 2, Recorded: 1}}, &View{Totals: Totals{Applied: 1}, Aggregated: 1}),
	} {
		if broken.Balanced || broken.Settled {
			t.Errorf("%s, and nobody noticed: %+v", name, broken)
		}
	}
	var fields map[string]any
	body, _ := json.Marshal(a)
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"responses", "recorded", "dropped", "excluded", "spooled", "applied", "aggregated", "quarantined", "archived", "deleted", "settled",
	} {
		if _, ok := fields[name]; !ok {
			t.Errorf("field %s is missing", name)
		}
	}
}
