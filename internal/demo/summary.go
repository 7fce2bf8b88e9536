package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
)

// summary is the result of the demo. --output json prints it as JSON.
type summary struct {
	Sent       uint64 `json:"sent"`       // responses received in full
	Recorded   uint64 `json:"recorded"`   // from the accounting, excluding abandoned requests
	Aggregated uint64 `json:"aggregated"` // from the rows, excluding abandoned requests
	Archived   uint64 `json:"archived"`   // from the lines, excluding abandoned requests

	Unfinished        uint64   `json:"unfinished"`         // requests without a complete response
	Abandoned         uint64   `json:"abandoned"`          // number of these that the client abandoned deliberately
	AbandonedInBooks  uint64   `json:"abandoned_in_books"` // number of abandoned requests that are in the books, under their own path
	Agree             bool     `json:"agree"`
	Problems          []string `json:"problems"` // why the figures do not agree
	RequestsPerSecond float64  `json:"requests_per_second"`
	ClientP50Micros   int64    `json:"client_p50_us"`
	ClientP99Micros   int64    `json:"client_p99_us"`

	HotPaths   []hotPath  `json:"hot_paths"`
	Accounting accounting `json:"accounting"`
	Dashboard  string     `json:"dashboard"`
	Archive    string     `json:"archive"`

	temporary bool // the data is removed at the end
	limited   bool // the number of requests or the duration was limited
}

type hotPath struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Count     uint64 `json:"count"`
	Errors    uint64 `json:"errors"`
	P50Micros uint64 `json:"p50_us"`
	P99Micros uint64 `json:"p99_us"`
}

// compare creates the summary and lists the problems. A figure that has decreased is also a problem.
func compare(o *Options, report *load.Report, base, now figures, settled bool) *summary {
	s := &summary{
		Sent: report.Received, Unfinished: report.Sent - report.Received, Abandoned: report.Abandoned,
		RequestsPerSecond: report.PerSecond(),
		ClientP50Micros:   report.Latency.Quantile(0.5).Microseconds(),
		ClientP99Micros:   report.Latency.Quantile(0.99).Microseconds(),
		HotPaths:          hottest(now.rows),
		Accounting:        now.accounting,
		Dashboard:         strings.TrimSuffix(o.AdminURL, "/") + "/",
		Archive:           o.ArchiveURL,
		temporary:         o.Temporary,
		limited:           o.Requests > 0 || o.Duration > 0,
		Problems:          []string{},
	}
	s.AbandonedInBooks = now.abandoned - base.abandoned
	s.Recorded = s.grown("recorded", base.recorded, now.recorded)
	s.Aggregated = s.grown("aggregated", base.aggregated, now.aggregated)
	s.Archived = s.grown("archived", base.archived, now.archived)

	if !settled {
		s.problem("the books did not settle within %v", o.SettleTimeout)
	}
	if failed := report.FailedTotal(); failed > 0 {
		s.problem("%d requests failed: %s", failed, report)
	}
	if s.AbandonedInBooks > s.Abandoned {
		s.problem("%d abandoned requests in the books, of %d sent", s.AbandonedInBooks, s.Abandoned)
	}
	if s.Recorded != s.Sent || s.Aggregated != s.Sent || s.Archived != s.Sent {
		s.problem("sent %d, recorded %d, aggregated %d, archived %d", s.Sent, s.Recorded, s.Aggregated, s.Archived)
	}
	if a := now.accounting.Aggregated; a != now.aggregated {
		s.problem("the accounting says aggregated %d, the rows add up to %d", a, now.aggregated)
	}
	s.Agree = len(s.Problems) == 0
	return s
}

// grown returns the increase of a figure, excluding the abandoned requests.
func (s *summary) grown(name string, base, now uint64) uint64 {
	if now < base+s.AbandonedInBooks {
		s.problem("%s went from %d to %d, with %d abandoned requests among them", name, base, now, s.AbandonedInBooks)
		return 0
	}
	return now - base - s.AbandonedInBooks
}

func (s *summary) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

func hottest(rows []row) []hotPath {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b row) int {
		if a.Count != b.Count {
			return int(min(max(int64(b.Count)-int64(a.Count), -1), 1))
		}
		return strings.Compare(a.Path+a.Method, b.Path+b.Method)
	})
	top := make([]hotPath, 0, topPaths)
	for _, r := range rows[:min(topPaths, len(rows))] {
		top = append(top, hotPath{r.Method, r.Path, r.Count, r.Errors, uint64(r.Latency.P50), uint64(r.Latency.P99)})
	}
	return top
}

func (s *summary) write(out io.Writer, output string) error {
	if output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(s)
	}
	var b strings.Builder
	s.writeFigures(&b)
	s.writeHotPaths(&b)
	switch {
	case s.temporary && s.limited:
		b.WriteString("When the demo ends, the dashboard stops and the data is removed. To look around, leave out --requests and --duration;\n" +
			"to keep the data, choose a directory with --data DIR.\n")
	case s.temporary:
		b.WriteString("The dashboard stops now and the data is removed. To keep the data, choose a directory with --data DIR.\n")
	default:
		fmt.Fprintf(&b, "Archive    %s\n", s.Archive)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (s *summary) writeFigures(b *strings.Builder) {
	figure := func(name string, n uint64, means string) {
		fmt.Fprintf(b, "  %-11s %12s   %s\n", name, grouped(n), means)
	}
	fmt.Fprintf(b, "\nThe books, after %s requests a second (client: p50 %s, p99 %s)\n",
		grouped(uint64(s.RequestsPerSecond)), micros(uint64(s.ClientP50Micros)), micros(uint64(s.ClientP99Micros)))
	figure("sent", s.Sent, "responses that the client received in full")
	figure("recorded", s.Recorded, "counted by the traffic process")
	figure("aggregated", s.Aggregated, "summed over the statistics per path")
	figure("archived", s.Archived, "lines in the archive")
	figure("unfinished", s.Unfinished, "responses that the client did not receive in full")
	if s.Abandoned > 0 {
		figure("  left early", s.Abandoned, fmt.Sprintf("clients that disconnected; %s of them are in the books, apart from the figures above",
			grouped(s.AbandonedInBooks)))
	}
	if s.Agree {
		fmt.Fprintf(b, "The four figures agree.\n\n")
		return
	}
	fmt.Fprintf(b, "THE FIGURES DO NOT AGREE\n")
	for _, p := range s.Problems {
		fmt.Fprintf(b, "  %s\n", p)
	}
	fmt.Fprintln(b)
}

func (s *summary) writeHotPaths(b *strings.Builder) {
	fmt.Fprintln(b, "Hot paths")
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "count\terrors\tp50\tp99\t  path")
	for _, p := range s.HotPaths {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t  %s %s\n", grouped(p.Count), grouped(p.Errors), micros(p.P50Micros), micros(p.P99Micros), p.Method, p.Path)
	}
	_ = w.Flush() // writing to a strings.Builder cannot fail
	fmt.Fprintln(b)
}

// grouped formats a number with thousands separators: 1,234,567.
func grouped(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func micros(us uint64) string {
	d := time.Duration(us) * time.Microsecond
	if d >= 10*time.Millisecond {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
