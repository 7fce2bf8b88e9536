package uploader

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

func testPlanner() *planner {
	return &planner{service: "shop", instance: "pod-0", objectBytes: 8 << 20, after: time.Hour, estimate: &estimate{}}
}

func pendingOf(t *testing.T, m *memStore) []catalogue.Pending {
	t.Helper()
	pending, err := m.Pending(context.Background(), farFuture)
	if err != nil {
		t.Fatal(err)
	}
	return pending
}

func TestPlanNeverSpansHoursOrEpochs(t *testing.T) {
	m := newMemStore(t)
	other := uuid.MustParse("0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2c")
	m.apply(testEpoch, testHour, 10, plainEvents(40, testHour.Add(-20*time.Microsecond), 1)...)
	m.apply(other, testHour, 10, plainEvents(5, testHour, 1)...)
	m.apply(testEpoch, testHour, 10, plainEvents(5, testHour.Add(time.Second), 41)...)
	type want struct {
		Key  string
		Rows uint64
	}
	var got []want
	for _, p := range testPlanner().cut(pendingOf(t, m), testHour.Add(2*time.Hour), false) {
		got = append(got, want{p.Key, p.Rows})
		if len(p.Runs) != 1 {
			t.Errorf("%s has runs %v", p.Key, p.Runs)
		}
	}
	if diff := cmp.Diff([]want{
		{"v1/dt=2026-11-23/hour=08/shop_pod-0_0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b_1-20.ndjson.gz", 20},
		{"v1/dt=2026-11-23/hour=09/shop_pod-0_0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b_21-45.ndjson.gz", 25},
		{"v1/dt=2026-11-23/hour=09/shop_pod-0_0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2c_1-5.ndjson.gz", 5},
	}, got); diff != "" {
		t.Fatalf("plans (-want +got):\n%s", diff)
	}
}

func TestPlanTakesWhatIsOldEnough(t *testing.T) {
	now := testHour.Add(5 * time.Hour)
	for _, c := range []struct {
		name    string
		applied time.Time
		all     bool
		want    int
	}{
		{"young", now.Add(-time.Hour + time.Nanosecond), false, 0},
		{"old enough", now.Add(-time.Hour), false, 1},
		{"young, at shutdown", now, true, 1},
		{"a little ahead of the clock", now.Add(time.Hour), false, 0},
		{"far ahead of the clock", now.Add(time.Hour + 1), false, 1},
		{"years ahead, at shutdown", now.AddDate(10, 0, 0), true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMemStore(t)
			m.apply(testEpoch, c.applied, 10, plainEvents(3, testHour, 1)...)
			if got := len(testPlanner().cut(pendingOf(t, m), now, c.all)); got != c.want {
				t.Fatalf("%d plans, want %d", got, c.want)
			}
		})
	}
}

func TestPlanIsCutByEstimateAndKeepsGapsInRuns(t *testing.T) {
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 100, plainEvents(250, testHour, 1)...)
	m.apply(testEpoch, testHour, 100, plainEvents(50, testHour.Add(time.Second), 300)...) // 251 to 299 are in another hour
	pending := pendingOf(t, m)
	pl := testPlanner()
	pl.objectBytes = pl.estimate.object(pending[0].Bytes + pending[1].Bytes)
	plans := pl.cut(pending, testHour, true)
	if len(plans) != 2 {
		t.Fatalf("%d plans, want 2", len(plans))
	}
	if diff := cmp.Diff([]catalogue.Run{{First: 201, Last: 250}, {First: 300, Last: 349}}, plans[1].Runs); diff != "" {
		t.Fatalf("runs (-want +got):\n%s", diff)
	}
	if plans[0].Lines != 200 || plans[1].Lines != 100 {
		t.Fatalf("plans hold %d and %d lines", plans[0].Lines, plans[1].Lines)
	}
	if !plans[1].MaxTime.Equal(testHour.Add(time.Second + 49*time.Microsecond)) {
		t.Fatalf("newest moment is %s", plans[1].MaxTime)
	}
}

func TestBlockLargerThanAnObjectIsAnObject(t *testing.T) {
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 100, plainEvents(300, testHour, 1)...)
	pl := testPlanner()
	pl.objectBytes = 1
	if plans := pl.cut(pendingOf(t, m), testHour, true); len(plans) != 3 {
		t.Fatalf("%d plans, want 3", len(plans))
	}
}

func TestEstimateLearnsAndStaysSane(t *testing.T) {
	var e estimate
	e.learn(&built{encodedBytes: 1 << 20, objectBytes: 1 << 18})
	if got := e.object(4000); got != 1000 {
		t.Fatalf("4000 encoded bytes are thought to become %d", got)
	}
	e.learn(&built{encodedBytes: 1 << 20, objectBytes: 1 << 30})
	if got := e.object(1000); got > 4000 {
		t.Fatalf("one odd object makes 1000 encoded bytes %d", got)
	}
	e.learn(&built{encodedBytes: 100, objectBytes: 1 << 30})
	if got := e.object(1000); got > 4000 {
		t.Fatalf("a tiny object makes 1000 encoded bytes %d", got)
	}
}

func TestRunsInMetadata(t *testing.T) {
	runs := []catalogue.Run{{First: 1, Last: 5}, {First: 7, Last: 7}, {First: 1 << 63, Last: 1<<64 - 1}}
	p := &catalogue.Plan{Runs: runs, Rows: 1, Lines: 2, FormatVersion: 1}
	meta := planMeta(p, &built{rawSHA256: strings.Repeat("a", 64)}, s3MetaBytes)
	got, err := ParseRuns(meta[MetaRuns])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(runs, got); diff != "" {
		t.Fatalf("runs (-want +got):\n%s", diff)
	}

	for i := range uint64(2000) {
		p.Runs = append(p.Runs, catalogue.Run{First: 1000 + 2*i, Last: 1000 + 2*i})
	}
	meta = planMeta(p, &built{rawSHA256: strings.Repeat("a", 64)}, s3MetaBytes)
	if _, found := meta[MetaRuns]; found || meta[MetaRunCount] != "2003" {
		t.Fatalf("2003 runs in little room give %d bytes of runs and count %s", len(meta[MetaRuns]), meta[MetaRunCount])
	}
	if _, found := planMeta(p, &built{}, 0)[MetaRuns]; !found {
		t.Fatal("without a limit the runs must be there")
	}
	for _, bad := range []string{"1", "x-2", "2-x", "5-4", "1-2,"} {
		if _, err := ParseRuns(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestMetadataFitsWhatS3Allows(t *testing.T) {
	for n := range 200 {
		p := &catalogue.Plan{Rows: 1 << 63, Lines: 1 << 63, FormatVersion: 1}
		for i := range uint64(n) {
			p.Runs = append(p.Runs, catalogue.Run{First: 1e12 + 10*i, Last: 1e12 + 10*i + 3})
		}
		size := 0
		for k, v := range planMeta(p, &built{rawSHA256: strings.Repeat("a", 64), rawBytes: 1 << 63}, s3MetaBytes) {
			size += len("x-amz-meta-") + len(k) + len(v)
		}
		if size > s3MetaBytes {
			t.Fatalf("%d runs take %d bytes", n, size)
		}
	}
}
