package weekly

import (
	"bufio"
	"fmt"
	"html"
	"io"

	"github.com/wayside-proxy/wayside/internal/terminal"
)

const style = `body{font:15px/1.5 system-ui,sans-serif;color:#18212a;max-width:52rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}p{margin:.2rem 0}small,.muted{color:#56616d}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(7rem,1fr));gap:.8rem;margin:1rem 0}dt{color:#56616d;font-size:.85rem}
dd{margin:0;font-size:1.2rem;font-weight:600}dd small{display:block;font-size:.8rem;font-weight:400}
table{width:100%;border-collapse:collapse}td,th{padding:.3rem .6rem .3rem 0;border-bottom:1px solid #dde2e8;text-align:left;vertical-align:top}
.num{text-align:right;white-space:nowrap}code{font-family:ui-monospace,monospace;font-size:.9em;overflow-wrap:anywhere}
svg{width:100%;height:7rem;display:block}tr,svg{break-inside:avoid}`

// HTML writes the review as a page to print or to send. The page has no script and needs no other file.
func (w *Week) HTML(to io.Writer) error {
	out := bufio.NewWriter(to)
	title := fmt.Sprintf("Week from %s to %s %d", day(w.From), day(w.To), w.To.UTC().Year())
	fmt.Fprintf(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"+
		"<title>%s</title><style>%s</style></head><body>\n<h1>%s</h1>\n<p class=\"muted\">%s to %s UTC</p>\n<dl>\n",
		title, style, title, w.From.UTC().Format("2006-01-02 15:04"), w.To.UTC().Format("2006-01-02 15:04"))
	for _, t := range w.tiles() {
		fmt.Fprintf(out, "<div><dt>%s</dt><dd>%s<small>%s</small></dd></div>\n", t[0], html.EscapeString(t[1]), html.EscapeString(t[2]))
	}
	fmt.Fprint(out, "</dl>\n")
	w.trend(out)
	w.htmlRows(out, "Busiest", w.Busiest, func(r *Row) string { return terminal.Grouped(r.Count) + " requests" })
	w.htmlRows(out, "Slowest (p95)", w.Slowest, func(r *Row) string { return r.latency(r.Latency.P95) })
	w.htmlRows(out, "Most errors", w.MostFailing, func(r *Row) string { return terminal.Grouped(r.Errors) + " errors, " + share(r.Errors, r.Count) })
	w.htmlChanges(out)
	if deploys := w.deploys(); len(deploys) > 0 {
		fmt.Fprint(out, "<h2>Marks</h2>\n<table>\n")
		for _, m := range deploys {
			fmt.Fprintf(out, "<tr><td>%s</td><td>%s</td></tr>\n", m.Time.UTC().Format("Mon 2 Jan 15:04"), html.EscapeString(m.Text))
		}
		fmt.Fprint(out, "</table>\n")
	}
	fmt.Fprintf(out, "<h2>The books</h2>\n<p>%s</p>\n<p>wayside ran for %.2f %% of the week.</p>\n</body></html>\n", html.EscapeString(w.complete()), 100*w.covered())
	return out.Flush()
}

// trend draws the requests of each day, with the errors at the bottom of each bar.
func (w *Week) trend(out io.Writer) {
	most := uint64(1)
	for i := range w.Days {
		most = max(most, w.Days[i].Count)
	}
	const tall, wide, gap = 100.0, 100.0, 12.0
	fmt.Fprintf(out, "<h2>By day (UTC)</h2>\n<svg viewBox=\"0 0 %.0f %.0f\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Requests of each day\">",
		wide*float64(max(len(w.Days), 1)), tall)
	for i := range w.Days {
		d := &w.Days[i]
		bar := func(n uint64, color string) {
			h := tall * float64(n) / float64(most)
			fmt.Fprintf(out, "<rect x=\"%.0f\" y=\"%.2f\" width=\"%.0f\" height=\"%.2f\" fill=\"%s\"/>", wide*float64(i)+gap, tall-h, wide-2*gap, h, color)
		}
		bar(d.Count, "#0a5fa5")
		bar(d.Errors, "#b0261d")
	}
	fmt.Fprint(out, "</svg>\n<table>\n<tr><th>Day</th><th class=\"num\">Requests</th><th class=\"num\">Errors</th><th class=\"num\">p95</th></tr>\n")
	for i := range w.Days {
		d := &w.Days[i]
		fmt.Fprintf(out, "<tr><td>%s</td><td class=\"num\">%s</td><td class=\"num\">%s</td><td class=\"num\">%s</td></tr>\n",
			d.Time.UTC().Format("Mon 2 Jan 15:04"), terminal.Grouped(d.Count), html.EscapeString(share(d.Errors, d.Count)), d.latency(d.Latency.P95))
	}
	fmt.Fprint(out, "</table>\n")
}

func (r *Row) html() string {
	where := r.Host
	if r.Route != "" {
		where += ", route " + r.Route
	}
	return fmt.Sprintf("<code>%s %s</code> <small>%s</small>", html.EscapeString(r.Method), html.EscapeString(r.Path), html.EscapeString(where))
}

func (w *Week) htmlRows(out io.Writer, heading string, rows []Row, figure func(*Row) string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(out, "<h2>%s</h2>\n<table>\n", heading)
	for i := range rows {
		fmt.Fprintf(out, "<tr><td>%s</td><td class=\"num\">%s</td></tr>\n", rows[i].html(), html.EscapeString(figure(&rows[i])))
	}
	fmt.Fprint(out, "</table>\n")
}

func (w *Week) htmlChanges(out io.Writer) {
	fmt.Fprint(out, "<h2>Changed since the week before</h2>\n")
	switch {
	case w.Before.Seconds == 0:
		fmt.Fprint(out, "<p>There are no figures of that week.</p>\n")
		return
	case len(w.Changes) == 0:
		fmt.Fprint(out, "<p>Nothing that matters.</p>\n")
		return
	}
	fmt.Fprint(out, "<table>\n")
	for i := range w.Changes {
		c := &w.Changes[i]
		fmt.Fprintf(out, "<tr><td>%s</td><td>%s</td><td class=\"num\">%s</td></tr>\n", html.EscapeString(c.Kind), c.Row.html(), html.EscapeString(c.says()))
	}
	fmt.Fprint(out, "</table>\n")
	if more := w.ChangesTotal - len(w.Changes); more > 0 {
		fmt.Fprintf(out, "<p>And %d more.</p>\n", more)
	}
}
