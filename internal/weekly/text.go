package weekly

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/wayside-proxy/wayside/internal/terminal"
)

const barWidth = 30

// Text writes the review for a terminal or an email.
func (w *Week) Text(to io.Writer) error {
	out := bufio.NewWriter(to)
	fmt.Fprintf(out, "Week from %s to %s UTC\n\n", w.From.UTC().Format("Mon 2 Jan 2006 15:04"), dayAndTime(w.To))
	table(out, func(t io.Writer) {
		for _, tile := range w.tiles() {
			fmt.Fprintf(t, "%s\t%s\t%s\n", tile[0], tile[1], tile[2])
		}
	})
	fmt.Fprint(out, "\nBY DAY (UTC)\n")
	most := w.busiestDay()
	table(out, func(t io.Writer) {
		for i := range w.Days {
			d := &w.Days[i]
			fmt.Fprintf(t, "%s\t%s\t%s errors\tp95 %s\t%s\n", dayAndTime(d.Time), terminal.Grouped(d.Count), share(d.Errors, d.Count),
				d.latency(d.Latency.P95), strings.Repeat("█", int(d.Count*barWidth/most)))
		}
	})
	for _, s := range w.sections() {
		fmt.Fprintf(out, "\n%s\n", strings.ToUpper(s.title))
		table(out, func(t io.Writer) {
			for i := range s.lines {
				fmt.Fprintln(t, s.lines[i].tabbed())
			}
		})
		for _, note := range s.notes {
			fmt.Fprintf(out, "  %s\n", note)
		}
	}
	return out.Flush()
}

// tabbed returns the cells of a line, separated by tabs.
func (l *line) tabbed() string {
	var cells []string
	if l.label != "" {
		cells = append(cells, l.label)
	}
	if l.row != nil {
		cells = append(cells, l.row.Method+" "+l.row.Path, l.row.where())
	}
	cells = append(cells, l.text)
	for i := range cells {
		cells[i] = terminal.Safe(cells[i])
	}
	return strings.Join(cells, "\t")
}

func table(out io.Writer, fill func(io.Writer)) {
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
