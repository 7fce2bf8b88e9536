package timeparse_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/timeparse"
)

var now = time.Date(2026, 3, 17, 9, 30, 15, 0, time.UTC)

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Time{
		"now": now, "now-1h": now.Add(-time.Hour), "-1h": now.Add(-time.Hour), "now-90m": now.Add(-90 * time.Minute),
		"-7d": now.AddDate(0, 0, -7), "now-2w": now.AddDate(0, 0, -14), "now-1h30m": now.Add(-90 * time.Minute),
		"2026-03-17": time.Date(2026, 3, 17, 0, 0, 0, 0, time.UTC), "2026-03-17T09": time.Date(2026, 3, 17, 9, 0, 0, 0, time.UTC),
		"2026-03-17T09:30": now.Truncate(time.Minute), "2026-03-17T09:30:15": now, "2026-03-17T09:30:15Z": now,
		"2026-03-17T10:30:15+01:00": now, "2026-03-17T10:30:15 01:00": now, "2026-03-17T09:30:15.000Z": now,
		"1773739815": now, "0": time.Unix(0, 0), "9999-12-31": timeparse.Max,
	} {
		if got, err := timeparse.Parse(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "yesterday", "-", "now-", "now+1h", "nowadays", "now-now", "-1y", "--1h", "-+1h", "now--1h", "-0s", "-1.5d", "-d", "-100000000000d",
		"2026-13-01", "1969-12-31", "-60000d", "99999999999999", "9999-12-31T00:00:01Z", "01:00", "2026", "7",
	} {
		got, err := timeparse.Parse(text, now)
		if err == nil {
			t.Errorf("%q is taken for %v", text, got)
		} else if !strings.Contains(err.Error(), "now-24h") || !strings.Contains(err.Error(), "RFC 3339") {
			t.Errorf("%q: the error does not say what would be right: %v", text, err)
		}
	}
}

func TestLength(t *testing.T) {
	for text, want := range map[string]time.Duration{"1h": time.Hour, "7d": 168 * time.Hour, "1w": 168 * time.Hour, "250ms": 250 * time.Millisecond} {
		if got, ok := timeparse.Length(text); !ok || got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "d", "-1h", "0s", "0d", "+1h", "1", "106752d", "15251w"} {
		if got, ok := timeparse.Length(text); ok {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}
