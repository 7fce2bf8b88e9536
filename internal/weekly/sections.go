package weekly

import (
	"fmt"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/internal/terminal"
)

// section is a part of the review that has the same content as text and as HTML. Nothing in it has been made safe yet.
type section struct {
	title string
	lines []line   // a table
	notes []string // sentences below the table
}

// line is a row of a table.
type line struct {
	label string // may be empty
	row   *Row   // the path that the line is about; may be nil
	text  string
}

// sections returns the parts of the review that follow the trend.
func (w *Week) sections() []section {
	all := []section{
		ranking("Busiest", w.Busiest, func(r *Row) string { return terminal.Grouped(r.Count) + " requests" }),
		ranking("Slowest (p95)", w.Slowest, func(r *Row) string { return r.latency(r.Latency.P95) }),
		ranking("Most errors", w.MostFailing, func(r *Row) string { return terminal.Grouped(r.Errors) + " errors, " + share(r.Errors, r.Count) }),
		w.changes(),
		w.marks(),
		{title: "The books", notes: []string{w.complete(), fmt.Sprintf("wayside ran for %.2f %% of the week.", 100*w.covered())}},
	}
	return slices.DeleteFunc(all, func(s section) bool { return len(s.lines)+len(s.notes) == 0 })
}

func ranking(title string, rows []Row, figure func(*Row) string) section {
	s := section{title: title}
	for i := range rows {
		s.lines = append(s.lines, line{row: &rows[i], text: figure(&rows[i])})
	}
	return s
}

func (w *Week) changes() section {
	s := section{title: "Changed since the week before"}
	switch {
	case w.Before.Seconds == 0:
		s.notes = []string{"There are no figures of that week."}
		return s
	case len(w.Changes) == 0:
		s.notes = []string{"Nothing that matters."}
		return s
	}
	for i := range w.Changes {
		c := &w.Changes[i]
		s.lines = append(s.lines, line{label: c.Kind, row: &c.Row, text: c.says()})
	}
	if more := w.ChangesTotal - len(w.Changes); more > 0 {
		s.notes = []string{fmt.Sprintf("And %d more: GET /api/v1/changes?from=-%dh", more, Days*24-1)}
	}
	return s
}

// marks lists the marks that were made by people and scripts.
func (w *Week) marks() section {
	s := section{title: "Marks"}
	for _, m := range w.Marks {
		if m.Kind == "mark" {
			s.lines = append(s.lines, line{label: dayAndTime(m.Time), text: m.Text})
		}
	}
	return s
}

// where returns the host and the route of a row.
func (r *Row) where() string {
	if r.Route == "" {
		return r.Host
	}
	return r.Host + ", route " + r.Route
}

func dayAndTime(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04") }
