package uploader

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

func dropItem(seq uint64, reason string, responses uint64, at time.Time) memItem {
	return memItem{seq: seq, event: event.Event{TimeMicros: at.UnixMicro(), Kind: event.KindDrop, ErrorType: []byte(reason), RequestBytes: responses}}
}

// buildStats builds both objects of the only plan, puts the statistics into a directory, and scans them.
func buildStats(t *testing.T, p *catalogue.Plan, m *memStore) (*Contents, string, uint64) {
	t.Helper()
	b := newBuilder()
	defer b.body.release()
	if _, err := b.build(context.Background(), m, p); err != nil {
		t.Fatal(err)
	}
	out, err := b.buildStatistics(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	target, err := OpenTarget(context.Background(), t.TempDir(), TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	body := b.body.reader()
	defer body.close()
	if err := target.Put(context.Background(), p.StatsKey, body, int64(out.objectBytes), planMeta(p, out, target.MetaBytesMax())); err != nil {
		t.Fatal(err)
	}
	o, err := ParseKey(p.Key)
	if err != nil {
		t.Fatal(err)
	}
	rows := uint64(0)
	c, err := ScanStatistics(context.Background(), target, &o, func(stats.Key, *stats.Row) error { rows++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MatchesMeta(); err != nil {
		t.Fatal(err)
	}
	first := ""
	if _, err := ReadLines(context.Background(), target, p.StatsKey, func(line []byte) error {
		if first == "" {
			first = string(line)
		} else if strings.Contains(string(line), `"object"`) {
			t.Errorf("a line after the first describes the object: %s", line)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return c, first, rows
}

// TestStatisticsDescribeTheirObject: runs with gaps, and the latest drop record of each reason, even without a
// response.
func TestStatisticsDescribeTheirObject(t *testing.T) {
	for _, tt := range []struct {
		name  string
		items []memItem
		runs  []catalogue.Run
		drops stats.Drops
	}{
		{
			"gaps and drops", slices.Concat(traffic(50, testHour, 1, false), []memItem{dropItem(51, "full", 4, testHour)}, traffic(9, testHour, 60, false),
				[]memItem{dropItem(69, "full", 9, testHour), dropItem(70, "age", 3, testHour)}),
			[]catalogue.Run{{First: 1, Last: 51}, {First: 60, Last: 70}},
			stats.Drops{"full": {Seq: 69, Responses: 9}, "age": {Seq: 70, Responses: 3}},
		},
		{"drops only", []memItem{dropItem(5, "fault", 2, testHour)}, []catalogue.Run{{First: 5, Last: 5}}, stats.Drops{"fault": {Seq: 5, Responses: 2}}},
		{"no drops", traffic(5, testHour, 1, false), []catalogue.Run{{First: 1, Last: 5}}, stats.Drops{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemStore(t)
			m.apply(testEpoch, testHour, 1000, tt.items...)
			plans := testPlanner().cut(pendingOf(t, m), testHour, true)
			c, first, rows := buildStats(t, plans[0], m)
			if !slices.Equal(c.Runs, tt.runs) || !maps.Equal(c.Drops, tt.drops) || c.Rows != plans[0].Rows {
				t.Errorf("%+v", c)
			}
			if c.Lines != max(rows, 1) {
				t.Errorf("%d lines for %d rows", c.Lines, rows)
			}
			// A plan of an older version is retried with the bytes that the older version wrote.
			plans[0].Fields = nil
			if c, old, _ := buildStats(t, plans[0], m); c.Runs != nil || c.Drops != nil || strings.Contains(old, `"object"`) || c.Lines != rows {
				t.Errorf("an older plan has %+v", c)
			}
			if !strings.Contains(first, `,"object":{"rows":`) {
				t.Error(first)
			}
		})
	}
}

// TestForeignDescriptionsAreDamage: nothing that wayside would not write is trusted.
func TestForeignDescriptionsAreDamage(t *testing.T) {
	hour := stats.HourOf(testHour)
	o := &Object{First: 10, Last: 20, Epoch: uuid.UUID{}}
	for text, good := range map[string]bool{
		`{"rows":1,"runs":[{"first":10,"last":20}],"drops":[]}`:             true,
		`{"rows":1,"drops":[{"reason":"full","seq":12,"responses":3}]}`:     true,
		`{"rows":1,"runs":[{"first":9,"last":20}]}`:                         false,
		`{"rows":1,"runs":[{"first":10,"last":21}]}`:                        false,
		`{"rows":1,"runs":[{"first":12,"last":11}]}`:                        false,
		`{"rows":1,"runs":[{"first":10,"last":15},{"first":15,"last":20}]}`: false,
		`{"rows":200000}`: false,
		`{"drops":[{"reason":"full","seq":9,"responses":3}]}`:                                        false,
		`{"drops":[{"reason":"full","seq":12,"responses":9007199254740993}]}`:                        false,
		`{"drops":[{"reason":"` + strings.Repeat("x", 65) + `","seq":12,"responses":1}]}`:            false,
		`{"runs":[{"first":18446744073709551615,"last":0}]}`:                                         false,
		`{"drops":[` + strings.Repeat(`{"reason":"a","seq":10,"responses":1},`, 70)[:38*70-1] + `]}`: false,
	} {
		var line statsLine
		whole := `{"schema_version":1,"hour":"` + testHour.UTC().Format(time.RFC3339) + `","object":` + text + `}`
		if _, _, err := parseStatistics([]byte(whole), &line, hour, uuid.UUID{}); err != nil {
			t.Fatal(whole, err)
		}
		c := &Contents{Lines: 1}
		if err := c.describe(line.Object, o); (err == nil) != good || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", text, err)
		}
		c = &Contents{Lines: 2}
		if err := c.describe(line.Object, o); !errors.Is(err, ErrDamaged) {
			t.Errorf("in the second line: %v", err)
		}
	}
}
