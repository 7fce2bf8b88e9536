package terminal

import (
	"fmt"
	"slices"
	"time"
)

// slow is the kind of an incident whose path is slower than usual, and not failing.
const slow = "slow"

// failingShown is the maximum number of incidents in the heading.
const failingShown = 4

// failing returns a line for each path that is currently failing or slower than usual. If short is set, it limits the number of lines, to
// leave room for the table.
func (m *model) failing(short bool) (lines []string) {
	for i := range m.paths.failing {
		if short && i == failingShown {
			return append(lines, style(red, fmt.Sprintf("  and %d more", len(m.paths.failing)-i)))
		}
		lines = append(lines, m.paths.failing[i].line())
	}
	return lines
}

// isFailing reports whether a path is failing now. Only then are its errors red: most services always have a few errors.
func (m *model) isFailing(name rowName) bool {
	return m.paths != nil && slices.ContainsFunc(m.paths.failing, func(i incident) bool { return i.rowName == name && i.Kind != slow })
}

// line describes, in one line, what is wrong with a path.
func (i *incident) line() string {
	name := style(bold, Safe(i.Method)+" "+Safe(i.Path)) + "  "
	since := "since " + clockTime(i.Since)
	where := style(faint, "  "+Safe(i.Host)+i.route())
	if i.Kind == slow {
		return style(yellow, "▲ SLOW    ") + name + style(yellow, "p95 "+duration(i.P95)) + ", usually " + duration(i.UsualP95) + ", " + style(bold, since) +
			fmt.Sprintf(", %s slow requests", Grouped(i.Affected)) + where
	}
	usually := "usually " + shareText(i.UsualShare)
	if i.UsualCount == 0 {
		usually = "a new path"
	}
	return style(red, "▲ FAILING ") + name + style(red, shareText(i.Share)+" errors") + ", " + usually + ", " + style(bold, since) +
		fmt.Sprintf(", %s failed", Grouped(i.Affected)) + where
}

func shareText(share float64) string {
	const parts = 1_000_000
	return percent(uint64(share*parts+0.5), parts)
}

// clockTime formats a time that is usually in the last day. If it is not today, the result includes the day.
func clockTime(t time.Time) string {
	t = t.Local()
	if now := time.Now(); t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		return t.Format("Mon 15:04")
	}
	return t.Format("15:04")
}
