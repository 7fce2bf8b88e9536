package weekly

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wayside-proxy/wayside/internal/terminal"
)

const barWidth = 30

// Text writes the review for a terminal or a mail.
func (w *Week) Text(to io.Writer) error {
	out := bufio.NewWriter(to)
	fmt.Fprintf(out, "Week from %s to %s UTC\n\n", w.From.UTC().Format("Mon 2 Jan 2006 15:04"), w.To.UTC().Format("Mon 2 Jan 15:04"))
	w.table(out, func(t io.Writer) {
		for _, tile := range w.tiles() {
			fmt.Fprintf(t, "%s\t%s\t%s\n", tile[0], tile[1], tile[2])
		}
	})
	fmt.Fprint(out, "\nBY DAY (UTC)\n")
	most := uint64(1)
	for i := range w.Days {
		most = max(most, w.Days[i].Count)
	}
	w.table(out, func(t io.Writer) {
		for i := range w.Days {
			d := &w.Days[i]
			fmt.Fprintf(t, "%s\t%s\t%s errors\tp95 %s\t%s\n", d.Time.UTC().Format("Mon 2 Jan 15:04"), terminal.Grouped(d.Count), share(d.Errors, d.Count),
				d.latency(d.Latency.P95), strings.Repeat("█", int(d.Count*barWidth/most)))
		}
	})
	w.rows(out, "BUSIEST", w.Busiest, func(r *Row) string { return terminal.Grouped(r.Count) + " requests" })
	w.rows(out, "SLOWEST (p95)", w.Slowest, func(r *Row) string { return r.latency(r.Latency.P95) })
	w.rows(out, "MOST ERRORS", w.MostFailing, func(r *Row) string { return terminal.Grouped(r.Errors) + " errors, " + share(r.Errors, r.Count) })
	w.changes(out)
	if deploys := w.deploys(); len(deploys) > 0 {
		fmt.Fprint(out, "\nMARKS\n")
		for _, m := range deploys {
			fmt.Fprintf(out, "  %s  %s\n", m.Time.UTC().Format("Mon 2 Jan 15:04"), terminal.Safe(m.Text))
		}
	}
	fmt.Fprintf(out, "\nTHE BOOKS\n  %s\n  wayside ran for %.2f %% of the week.\n", w.complete(), 100*w.covered())
	return out.Flush()
}

func (w *Week) table(out io.Writer, fill func(io.Writer)) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fill(indent{t})
	_ = t.Flush() // the caller's last Flush returns any error
}

// indent writes two spaces before each write, which must be one line.
type indent struct{ io.Writer }

func (i indent) Write(p []byte) (int, error) {
	n, err := i.Writer.Write(append([]byte("  "), p...))
	return max(n-2, 0), err
}

func (r *Row) name() string {
	name := terminal.Safe(r.Method) + " " + terminal.Safe(r.Path) + "\t" + terminal.Safe(r.Host)
	if r.Route != "" {
		name += ", route " + terminal.Safe(r.Route)
	}
	return name
}

func (w *Week) rows(out io.Writer, heading string, rows []Row, figure func(*Row) string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", heading)
	w.table(out, func(t io.Writer) {
		for i := range rows {
			fmt.Fprintf(t, "%s\t%s\n", rows[i].name(), figure(&rows[i]))
		}
	})
}

func (w *Week) changes(out io.Writer) {
	fmt.Fprintf(out, "\nCHANGED SINCE THE WEEK BEFORE\n")
	switch {
	case w.Before.Seconds == 0:
		fmt.Fprintf(out, "  There are no figures of that week.\n")
		return
	case len(w.Changes) == 0:
		fmt.Fprintf(out, "  Nothing that matters.\n")
		return
	}
	w.table(out, func(t io.Writer) {
		for i := range w.Changes {
			c := &w.Changes[i]
			fmt.Fprintf(t, "%s\t%s\t%s\n", c.Kind, c.name(), c.says())
		}
	})
	if more := w.ChangesTotal - len(w.Changes); more > 0 {
		fmt.Fprintf(out, "  and %d more: GET /api/v1/changes?from=-%dd\n", more, Days)
	}
}

// day returns the text for a day in HTML.
func day(t time.Time) string { return t.UTC().Format("Mon 2 Jan") }
