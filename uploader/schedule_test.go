package uploader

import (
	"testing"
	"time"
)

func TestScheduleNext(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ text, now, want string }{
		{"@every 1s", "2026-11-23 09:00:00", "2026-11-23 09:00:01"},
		{"@every 90m", "2026-11-23 09:00:00", "2026-11-23 10:30:00"},
		{"0 * * * *", "2026-11-23 09:00:00", "2026-11-23 10:00:00"},
		{"0 * * * *", "2026-11-23 09:59:59", "2026-11-23 10:00:00"},
		{"0 3 * * *", "2026-11-23 03:00:01", "2026-11-24 03:00:00"},
		{"0 5 * * 0", "2026-11-23 00:00:00", "2026-11-29 05:00:00"},
		{"@daily", "2026-12-31 12:00:00", "2027-01-01 00:00:00"},
		{"TZ=Asia/Kolkata 30 3 * * *", "2026-11-23 00:00:00", "2026-11-23 22:00:00"},
		{"CRON_TZ=America/New_York 0 0 * * *", "2026-07-01 00:00:00", "2026-07-01 04:00:00"},
	} {
		s, err := parseSchedule(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got := s.next(at(c.now)); !got.Equal(at(c.want)) {
			t.Errorf("%q after %s is %s, want %s", c.text, c.now, got, c.want)
		}
	}
	for _, bad := range []string{
		"", "@every", "@every 0s", "@every 1ns", "@every 999ms", "@every -1s", "@every x", "61 * * * *", "* * *", "nonsense", "0 0 30 2 *",
		"TZ=Nowhere/City 0 3 * * *", "TZ= 0 3 * * *", "TZ=Europe/Berlin",
	} {
		if err := ValidateSchedule(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestScheduleOverClockChanges goes through both clock changes of a time zone: each daily job runs once on each day,
// each hourly job in each hour that passes.
func TestScheduleOverClockChanges(t *testing.T) {
	for _, c := range []struct {
		text     string
		from, to string // times in the time zone
		want     []string
	}{
		// In Berlin, 02:00 becomes 03:00 on 2026-03-29, and 03:00 becomes 02:00 on 2026-10-25.
		{"TZ=Europe/Berlin 30 2 * * *", "2026-03-28T00:00:00+01:00", "2026-03-31T00:00:00+02:00", []string{
			"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00",
		}},
		{"TZ=Europe/Berlin 30 2 * * *", "2026-10-24T00:00:00+02:00", "2026-10-27T00:00:00+01:00", []string{
			"2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00",
		}},
		{"TZ=Europe/Berlin 0 3 * * *", "2026-10-24T00:00:00+02:00", "2026-10-27T00:00:00+01:00", []string{
			"2026-10-24T03:00:00+02:00", "2026-10-25T03:00:00+01:00", "2026-10-26T03:00:00+01:00",
		}},
		{"TZ=Europe/Berlin 0 * * * *", "2026-03-29T00:30:00+01:00", "2026-03-29T04:30:00+02:00", []string{
			"2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00",
		}},
		{"TZ=Europe/Berlin 0 * * * *", "2026-10-25T00:30:00+02:00", "2026-10-25T03:30:00+01:00", []string{
			"2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00",
		}},
		// Here the clock changes by half an hour.
		{"TZ=Australia/Lord_Howe 0 * * * *", "2026-04-05T00:30:00+11:00", "2026-04-05T03:30:00+10:30", []string{
			"2026-04-05T01:00:00+11:00", "2026-04-05T02:00:00+10:30", "2026-04-05T03:00:00+10:30",
		}},
		{"0 5 * * 0", "2026-03-21T00:00:00Z", "2026-04-06T00:00:00Z", []string{"2026-03-22T05:00:00Z", "2026-03-29T05:00:00Z", "2026-04-05T05:00:00Z"}},
	} {
		s, err := parseSchedule(c.text)
		if err != nil {
			t.Fatal(err)
		}
		now, to := instant(t, c.from), instant(t, c.to)
		var got []time.Time
		for {
			due := s.next(now)
			if !due.After(now) {
				t.Fatalf("%q: %s after %s", c.text, due, now)
			}
			// The result is the same for any earlier time.
			if half := s.next(now.Add(due.Sub(now) / 2)); !half.Equal(due) {
				t.Errorf("%q after %s is %s, a little later %s", c.text, now, due, half)
			}
			if now = due; !now.Before(to) {
				break
			}
			got = append(got, due)
		}
		if len(got) != len(c.want) {
			t.Errorf("%q from %s: %v, want %v", c.text, c.from, got, c.want)
			continue
		}
		for i, w := range c.want {
			if !got[i].Equal(instant(t, w)) {
				t.Errorf("%q: %s, want %s", c.text, got[i], w)
			}
		}
	}
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v.UTC()
}
