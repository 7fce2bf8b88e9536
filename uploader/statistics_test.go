package uploader

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// TestStatsLineEndsWithItsObject: text after the JSON object in a line is damage and is not skipped.
func TestStatsLineEndsWithItsObject(t *testing.T) {
	const line = `{"schema_version":1,"hour":"2026-03-17T09:00:00Z"}`
	hour := time.Date(2026, 3, 17, 9, 0, 0, 0, time.UTC).Unix() / 3600
	if _, _, err := parseStatistics([]byte(line+"\n"), &statsLine{}, hour, uuid.UUID{}); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{line, " {}", "x"} {
		if _, _, err := parseStatistics([]byte(line+more), &statsLine{}, hour, uuid.UUID{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", more, err)
		}
	}
}

// TestBuilderIsReused: objects do not depend on those that the builder built before, whether rows have disappeared, are
// new, or are too many to keep.
func TestBuilderIsReused(t *testing.T) {
	m := newMemStore(t)
	seq := uint64(1)
	for i, n := range []int{300, 50, 0, 300, foldRowsKept + 1, 50} {
		items := traffic(200, testHour, seq, false)
		for k := range n {
			items = append(items, memItem{seq: seq + 200 + uint64(k), label: fmt.Sprintf("/%d/%d", i%2, k), event: items[k%200].event})
		}
		m.apply(testEpoch, testHour, 10_000, items...)
		seq += uint64(len(items))
	}
	pl := testPlanner()
	reused := newBuilder()
	defer reused.body.release()
	for i, pending := range pendingOf(t, m) {
		plans := pl.cut([]catalogue.Pending{pending}, testHour, true)
		if len(plans) != 1 {
			t.Fatalf("%d plans", len(plans))
		}
		fresh := newBuilder()
		for _, build := range []func(b *builder) (*built, error){
			func(b *builder) (*built, error) { return b.build(context.Background(), m, plans[0]) },
			func(b *builder) (*built, error) { return b.buildStatistics(context.Background(), plans[0]) },
		} {
			want, err := build(fresh)
			if err != nil {
				t.Fatal(err)
			}
			got, err := build(reused)
			if err != nil || *got != *want {
				t.Errorf("object %d is %+v, %v, want %+v", i, got, err, want)
			}
		}
		fresh.body.release()
	}
}
