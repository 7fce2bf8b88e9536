package weekly

import (
	"fmt"

	"github.com/wayside-proxy/wayside/internal/terminal"
)

func share(part, all uint64) string {
	switch {
	case all == 0:
		return "–"
	case part == 0:
		return "0 %"
	}
	percent := 100 * float64(part) / float64(all)
	if percent < 0.01 {
		return "< 0.01 %"
	}
	return terminal.ThreeDigits(percent) + " %"
}

// latency formats a latency in microseconds; "–" if there are no responses.
func (f *Figures) latency(micros uint64) string {
	switch v := float64(micros); {
	case f.Count == 0:
		return "–"
	case micros < 1000:
		return fmt.Sprintf("%d µs", micros)
	case micros < 1_000_000:
		return terminal.ThreeDigits(v/1e3) + " ms"
	default:
		return terminal.ThreeDigits(v/1e6) + " s"
	}
}

func (f *Figures) rate() string {
	if f.Rate < 0.1 {
		return terminal.ThreeDigits(f.Rate*60) + " /min"
	}
	return terminal.ThreeDigits(f.Rate) + " /s"
}

// against describes the change of a figure. The result is empty if there is nothing to compare with.
func against(now, before float64) string {
	if before == 0 {
		return ""
	}
	percent := 100 * (now/before - 1)
	if percent > -0.5 && percent < 0.5 {
		return "as before"
	}
	return fmt.Sprintf("%+.0f %%", percent)
}

// says describes a change in words.
func (c *Change) says() string {
	switch c.Kind {
	case "failing":
		return fmt.Sprintf("%s errors, before %s", share(c.Errors, c.Count), share(c.Before.Errors, c.Before.Count))
	case "slower":
		return fmt.Sprintf("p95 %s, before %s", c.latency(c.Latency.P95), c.Before.latency(c.Before.Latency.P95))
	case "new":
		return terminal.Grouped(c.Count) + " requests, none before"
	case "vanished":
		return "no requests, before " + terminal.Grouped(c.Before.Count)
	}
	return c.Kind
}

// comparable is the minimum ratio of the times that two weeks cover. Below it, their numbers of requests are not compared.
const comparable = 0.9

// tiles returns the totals with their names and their changes.
func (w *Week) tiles() [][3]string {
	now, was := &w.Totals, &w.Before
	before := ""
	if was.Count > 0 {
		before = "before " + share(was.Errors, was.Count)
	}
	latency := func(n, b uint64) string {
		if was.Count == 0 {
			return ""
		}
		return against(float64(n), float64(b))
	}
	requests := against(float64(now.Count), float64(was.Count))
	if was.Seconds < comparable*now.Seconds || now.Seconds < comparable*was.Seconds {
		requests = "" // the rates can be compared
	}
	return [][3]string{
		{"Requests", terminal.Grouped(now.Count), requests},
		{"Rate", now.rate(), against(now.Rate, was.Rate)},
		{"Errors", share(now.Errors, now.Count), before},
		{"p50", now.latency(now.Latency.P50), latency(now.Latency.P50, was.Latency.P50)},
		{"p95", now.latency(now.Latency.P95), latency(now.Latency.P95, was.Latency.P95)},
		{"p99", now.latency(now.Latency.P99), latency(now.Latency.P99, was.Latency.P99)},
	}
}
