package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// TestNewerPlanIsRefused: the error for a plan of a newer version says so, and the plan is not changed.
func TestNewerPlanIsRefused(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	apply(t, s, newTraffic(1).batch(10))
	p := pendingPlan(t, s, "v1/x")
	if err := s.AddPlan(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	key, err := planKey(catalogue.Planned, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	write := func(version byte) {
		t.Helper()
		err := s.update(func(txn *badger.Txn) error {
			var value []byte
			if _, err := get(txn, key, func(v []byte) error { value = append(value, v...); return nil }); err != nil {
				return err
			}
			value[0] = version
			return set(txn, key, value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write(planVersion + 1)
	err = s.Plans(t.Context(), func(*catalogue.Plan) error { return nil })
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "plan version 2") {
		t.Errorf("a plan of a newer version: %v", err)
	}
	if err := s.MarkVerified(t.Context(), p); !errors.Is(err, ErrSchema) {
		t.Errorf("verified a plan of a newer version: %v", err)
	}
	write(planVersion)
	if err := s.MarkVerified(t.Context(), p); err != nil {
		t.Errorf("the plan was changed: %v", err)
	}
}
