package terminal

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/wayside-proxy/wayside/internal/event"
)

// View draws the screen.
func (m *model) View() tea.View {
	lines := m.heading()
	switch {
	case m.help:
		lines = append(lines, "")
		for _, line := range helpText {
			lines = append(lines, "  "+line)
		}
	case m.inside:
		lines = append(lines, m.path(m.height-len(lines)-1)...)
	default:
		lines = append(lines, m.table(m.height-len(lines)-1)...)
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(0, min(len(lines), m.height-1))], m.footer())
	for i, line := range lines {
		lines[i] = fit(line, m.width)
	}
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	v.WindowTitle = "wayside top"
	return v
}

func style(sgr, text string) string { return paint(true, sgr, text) }

// heading returns the title and the totals.
func (m *model) heading() []string {
	state := style(green, "● live")
	switch {
	case m.failure != "":
		state = style(red, "● no response")
	case m.paused:
		state = style(yellow, "● paused")
	}
	title := style(bold, "wayside top") + "  " + state + "  " + style(faint, m.o.Address+"  last "+windows[m.window].name)
	if m.failure != "" {
		title += "  " + style(red, Safe(strings.ReplaceAll(m.failure, "\n", " ")))
	}
	if m.paths == nil {
		return []string{title, ""}
	}
	t := &m.paths.Totals
	errors := percent(t.Errors, t.Count) + " errors"
	if slices.ContainsFunc(m.paths.failing, func(i incident) bool { return i.Kind != slow }) {
		errors = style(red, errors)
	}
	if dropped := sumOf(t.Dropped); dropped > 0 {
		errors += "  " + style(red, Grouped(dropped)+" not recorded")
	}
	totals := fmt.Sprintf("%s requests  %s now  %s  p50 %s  p95 %s  p99 %s  ", style(bold, Grouped(t.Count)), style(bold, perSecond(m.recent.Totals.Rate)), errors,
		t.latency(t.Latency.P50), t.latency(t.Latency.P95), t.latency(t.Latency.P99))
	if room := m.width - ansi.StringWidth(totals); room >= 10 {
		totals += style(cyan, spark(m.recent.Totals.Count, min(room, 30)))
	}
	lines := append([]string{title}, m.failing(true)...)
	lines = append(lines, totals)
	if m.paths.unused != "" {
		lines = append(lines, style(red, Safe(m.paths.unused)))
	}
	return append(lines, "")
}

// sumOf adds up the counts of a map.
func sumOf(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func (m *model) footer() string {
	if m.typing {
		return style(bold, "filter: ") + Safe(m.filter) + "█" + style(faint, "   enter: keep  esc: clear")
	}
	keys := "q quit  ? help  ↑↓ move  enter open  / filter  s order  w window  r reverse  space pause"
	if m.inside {
		keys = "esc back  w window  space pause  q quit"
	}
	if m.filter != "" && !m.inside {
		keys = "filter: " + Safe(m.filter) + " (esc clears)   " + keys
	}
	return style(faint, keys)
}

// tableColumns are the columns after the path. On a narrow screen, wide columns are omitted.
var tableColumns = []struct {
	sort, width int
	name        string
	wide        bool
	cell        func(*row) string
}{
	{0, 9, "NOW", false, func(r *row) string { return perSecond(r.now) }},
	{1, 9, "REQUESTS", false, func(r *row) string { return number(r.Count) }},
	{2, 8, "ERRORS", false, func(r *row) string { return percent(r.Errors, r.Count) }},
	{3, 8, "P50", true, func(r *row) string { return r.latency(r.Latency.P50) }},
	{4, 8, "P95", false, func(r *row) string { return r.latency(r.Latency.P95) }},
	{5, 8, "P99", true, func(r *row) string { return r.latency(r.Latency.P99) }},
}

const (
	narrow    = 90 // width below which columns are omitted
	sparkWide = 20
)

func (m *model) table(height int) []string {
	pathWidth := m.width - 9
	for _, c := range tableColumns {
		if !c.wide || m.width >= narrow {
			pathWidth -= c.width + 1
		}
	}
	if m.width >= narrow {
		pathWidth -= sparkWide + 1
	}
	lines := []string{m.tableHead(pathWidth)}
	if m.paths == nil {
		return append(lines, "", "  Asking wayside…")
	}
	if len(m.rows) == 0 {
		if m.filter != "" {
			return append(lines, "", "  No path matches the filter.")
		}
		return append(lines, "", "  No requests in this time range. Send one through the proxy, and it appears about a second later.")
	}
	visible := max(1, height-1)
	first := max(0, min(m.at-visible/2, len(m.rows)-visible))
	for i := first; i < min(first+visible, len(m.rows)); i++ {
		lines = append(lines, m.tableRow(&m.rows[i], pathWidth, i == m.at))
	}
	return lines
}

func (m *model) tableHead(pathWidth int) string {
	line := fit("METHOD", 8) + " " + fit("PATH", pathWidth)
	if m.width >= narrow {
		line += " " + fit(strings.ToUpper(m.recently("min")), sparkWide)
	}
	line = style(faint, line)
	for _, c := range tableColumns {
		if c.wide && m.width < narrow {
			continue
		}
		name, sgr := c.name, faint
		if c.sort == m.sort {
			name, sgr = "▼"+c.name, bold
			if m.rising {
				name = "▲" + c.name
			}
		}
		line += " " + style(sgr, fitRight(name, c.width))
	}
	return line
}

// recently names the period that the recent activity covers. The activity is counted only since the books process was started, so the
// period can be short.
func (m *model) recently(minutes string) string {
	if m.recent == nil {
		return ""
	}
	if m.recent.shown < time.Minute {
		return fmt.Sprintf("last %d s", int(m.recent.shown.Seconds()))
	}
	return fmt.Sprintf("last %d %s", int(m.recent.shown.Minutes()), minutes)
}

// host returns the text for the row's host, which is shown after its path. On a narrow screen, it is empty if all rows have the same
// host.
func (m *model) host(r *row, plain func(sgr, text string) string) string {
	if m.oneHost && m.width < narrow {
		return ""
	}
	return "  " + plain(faint, Safe(r.Host))
}

func (m *model) tableRow(r *row, pathWidth int, selected bool) string {
	plain := func(sgr, text string) string {
		if selected {
			return text // colors are hard to read in an inverted line
		}
		return style(sgr, text)
	}
	line := plain(faint, fit(Safe(r.Method), 8)) + " " + fit(Safe(r.Path)+m.host(r, plain)+plain(faint, r.route()), pathWidth)
	if m.width >= narrow {
		line += " " + plain(cyan, fit(spark(r.recent, sparkWide), sparkWide))
	}
	for _, c := range tableColumns {
		if c.wide && m.width < narrow {
			continue
		}
		cell := fitRight(c.cell(r), c.width)
		if c.name == "ERRORS" && m.isFailing(r.rowName) {
			cell = plain(red, cell)
		}
		line += " " + cell
	}
	if selected {
		return style(reverse, fit(line, m.width))
	}
	return line
}

// path returns the lines for one path: figures, the last half hour, statuses, hours, and the latest events.
func (m *model) path(height int) []string {
	name := m.chosen
	lines := []string{style(bold, Safe(name.Method)+" "+Safe(name.Path)) + "  " + style(faint, Safe(name.Host)+name.route()), ""}
	if m.detail == nil {
		return append(lines, "  Asking wayside…")
	}
	t := &m.detail.series.Totals
	failed := percent(t.Errors, t.Count)
	if m.isFailing(name) {
		failed = style(red, failed)
	}
	lines = append(lines, fmt.Sprintf("%s requests  %s  errors %s  p50 %s  p90 %s  p95 %s  p99 %s  max %s  sent %s", style(bold, Grouped(t.Count)), perSecond(t.Rate),
		failed, t.latency(t.Latency.P50), t.latency(t.Latency.P90), t.latency(t.Latency.P95), t.latency(t.Latency.P99), t.latency(t.Latency.Max), size(t.BytesOut)), "")
	lines = append(lines, m.picture()...)
	lines = append(lines, "", counts(t.Status, func(code string) string { return style(statusColor(statusOf(code)), code) }), "")
	if len(t.GRPC) > 0 {
		lines = append(lines, counts(t.GRPC, grpcText), "")
	}
	rest := max(0, height-len(lines))
	lines = append(lines, m.hours(rest/2)...)
	return append(lines, m.events(height-len(lines)-1)...)
}

// picture returns the last half hour as bars.
func (m *model) picture() []string {
	var recent []uint32
	var now float64
	for _, r := range m.paths.Paths {
		if r.rowName == m.chosen {
			recent, now = r.recent, r.now
		}
	}
	width := min(90, m.width-2)
	lines := []string{style(faint, m.recently("minutes")+", now "+perSecond(now))}
	for _, line := range bars(recent, width, 4) {
		lines = append(lines, style(cyan, line))
	}
	return append(lines, style(faint, strings.Repeat("─", width)))
}

// counts lists counts by status, largest first.
func counts(status map[string]uint64, name func(code string) string) string {
	type pair struct {
		code  string
		count uint64
	}
	var all []pair
	for code, count := range status {
		all = append(all, pair{code, count})
	}
	slices.SortFunc(all, func(a, b pair) int { return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.code, b.code)) })
	parts := make([]string, len(all))
	for i, p := range all {
		parts[i] = name(p.code) + " " + Grouped(p.count)
	}
	return strings.Join(parts, "   ")
}

// grpcText returns the name of a gRPC status code.
func grpcText(code string) string {
	n, err := strconv.Atoi(code)
	if err != nil {
		return Safe(code)
	}
	return style(grpcColor(n), event.GRPCName(n))
}

// hours returns the latest steps of the series.
func (m *model) hours(height int) []string {
	if height < 3 {
		return nil
	}
	lines := []string{style(faint, fmt.Sprintf("%-14s %9s %8s %8s %8s %8s", "FROM", "REQUESTS", "ERRORS", "P50", "P95", "P99"))}
	points := m.detail.series.Points
	for i := len(points) - 1; i >= 0 && len(lines) < height; i-- {
		if p := &points[i]; p.Count > 0 {
			lines = append(lines, fmt.Sprintf("%-14s %9s %8s %8s %8s %8s", p.Time.Local().Format("Mon 02 15:04"), number(p.Count),
				percent(p.Errors, p.Count), p.latency(p.Latency.P50), p.latency(p.Latency.P95), p.latency(p.Latency.P99)))
		}
	}
	return append(lines, "")
}

func (m *model) events(height int) []string {
	if height < 2 {
		return nil
	}
	lines := []string{style(faint, "LATEST EVENTS")}
	for i := range m.detail.events[:min(height-1, len(m.detail.events))] {
		lines = append(lines, m.detail.events[i].columns(true))
	}
	return lines
}
