package weekly

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"time"

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
	for _, part := range w.sections() {
		fmt.Fprintf(out, "<h2>%s</h2>\n", html.EscapeString(part.title))
		if len(part.lines) > 0 {
			fmt.Fprint(out, "<table>\n")
			for i := range part.lines {
				fmt.Fprintf(out, "<tr>%s</tr>\n", part.lines[i].cells())
			}
			fmt.Fprint(out, "</table>\n")
		}
		for _, note := range part.notes {
			fmt.Fprintf(out, "<p>%s</p>\n", html.EscapeString(note))
		}
	}
	fmt.Fprint(out, "</body></html>\n")
	return out.Flush()
}

// cells returns the cells of a line in HTML.
func (l *line) cells() string {
	if l.row == nil {
		return fmt.Sprintf("<td>%s</td><td>%s</td>", html.EscapeString(l.label), html.EscapeString(l.text))
	}
	label := ""
	if l.label != "" {
		label = "<td>" + html.EscapeString(l.label) + "</td>"
	}
	return fmt.Sprintf("%s<td><code>%s %s</code> <small>%s</small></td><td class=\"num\">%s</td>", label, html.EscapeString(l.row.Method),
		html.EscapeString(l.row.Path), html.EscapeString(l.row.where()), html.EscapeString(l.text))
}

// trend draws the requests of each day, with the errors at the bottom of each bar.
func (w *Week) trend(out io.Writer) {
	most := w.busiestDay()
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
			dayAndTime(d.Time), terminal.Grouped(d.Count), html.EscapeString(share(d.Errors, d.Count)), d.latency(d.Latency.P95))
	}
	fmt.Fprint(out, "</table>\n")
}

// day returns the text for a day in HTML.
func day(t time.Time) string { return t.UTC().Format("Mon 2 Jan") }
