package terminal

import (
	"fmt"
	"strconv"
	"strings"
)

// Counted formats a number with its noun: 1 event, 2 events.
func Counted[N int | int64 | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// number formats a count in at most nine cells: 345,678 or 123.4M.
func number(n uint64) string {
	switch {
	case n < 1_000_000:
		return Grouped(n)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1fG", float64(n)/1e9)
}

// Grouped formats a count with a comma every three digits.
func Grouped(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var out strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(d)
	}
	return out.String()
}

// duration formats microseconds with three digits and a unit.
func duration(micros uint64) string {
	switch {
	case micros < 1000:
		return fmt.Sprintf("%dµs", micros)
	case micros < 1_000_000:
		return ThreeDigits(float64(micros)/1e3) + "ms"
	}
	return ThreeDigits(float64(micros)/1e6) + "s"
}

// latency formats a latency. If the figures have no responses, it returns "–".
func (f *figures) latency(micros uint64) string {
	if f.Count == 0 {
		return "–"
	}
	return duration(micros)
}

// ThreeDigits formats a number with three digits, or with all digits before the point if it has more.
func ThreeDigits(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func perSecond(v float64) string {
	switch {
	case v == 0:
		return "0/s"
	case v < 0.1:
		return fmt.Sprintf("%.2g/min", v*60)
	}
	return ThreeDigits(v) + "/s"
}

func percent(part, all uint64) string {
	if all == 0 || part == 0 {
		return "0%"
	}
	share := 100 * float64(part) / float64(all)
	if share < 0.1 {
		return "<0.1%"
	}
	return ThreeDigits(share) + "%"
}

func size(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return ThreeDigits(v) + units[i]
}

var blocks = []rune(" ▁▂▃▄▅▆▇█")

// spark draws values as one line of blocks, width cells wide, with the newest on the right.
func spark(values []uint32, width int) string {
	sums := squeeze(values, width)
	var most uint64
	for _, v := range sums {
		most = max(most, v)
	}
	var out strings.Builder
	for _, v := range sums {
		if v == 0 {
			out.WriteRune(' ')
			continue
		}
		out.WriteRune(blocks[1+int(v*7/most)])
	}
	return out.String()
}

// squeeze adds up neighboring values until only width values are left, with the newest on the right.
func squeeze(values []uint32, width int) []uint64 {
	if width <= 0 || len(values) == 0 {
		return nil
	}
	group := max(1, (len(values)+width-1)/width)
	sums := make([]uint64, width)
	for i, v := range values {
		at := width - 1 - (len(values)-1-i)/group
		if at >= 0 {
			sums[at] += uint64(v)
		}
	}
	return sums
}

// bars draws values as bars of several lines, the top line first.
func bars(values []uint32, width, height int) []string {
	sums := squeeze(values, width)
	var most uint64
	for _, v := range sums {
		most = max(most, v)
	}
	lines := make([]string, height)
	for line := range height {
		var out strings.Builder
		floor := uint64(height-1-line) * 8
		for _, v := range sums {
			var eighths uint64
			if most > 0 {
				eighths = v * uint64(height) * 8 / most
				if v > 0 {
					eighths = max(eighths, 1)
				}
			}
			out.WriteRune(blocks[min(max(eighths, floor)-floor, 8)])
		}
		lines[line] = out.String()
	}
	return lines
}
