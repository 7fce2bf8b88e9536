package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// Listing is the output of `wayside archive ls`.
type Listing struct {
	Objects  int               `json:"objects"`
	Rows     uint64            `json:"rows"` // number of rows in the objects for which the catalogue has this number
	Bytes    uint64            `json:"bytes"`
	RawBytes uint64            `json:"raw_bytes,omitempty"`
	Archives []catalogue.Plan  `json:"archives,omitempty"`
	Bucket   []uploader.Object `json:"bucket,omitempty"`

	several bool // whether the entries are in several archives
}

// AddPlans adds the plans whose hour overlaps the range, ordered by hour.
func (l *Listing) AddPlans(plans []catalogue.Plan, span reader.Range, state catalogue.State) {
	for _, p := range plans {
		hour := time.Unix(p.Hour*3600, 0)
		if !span.Touches(hour) || state != "" && p.State != state {
			continue
		}
		l.Objects++
		l.Rows += p.Rows
		l.Bytes += p.ObjectBytes
		l.RawBytes += p.RawBytes
		l.several = l.several || len(l.Archives) > 0 && p.Target != l.Archives[0].Target
		l.Archives = append(l.Archives, p)
	}
	slices.SortStableFunc(l.Archives, func(a, b catalogue.Plan) int { return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.ID, b.ID)) })
}

// Print writes the listing as a table.
func (l *Listing) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if l.Bucket != nil {
		fmt.Fprintln(w, "BYTES\tSERVICE\tINSTANCE\tKEY")
		for _, o := range l.Bucket {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", o.Size, terminal.Safe(o.Service), terminal.Safe(o.Instance), terminal.Safe(o.Key))
		}
		fmt.Fprintf(w, "%d\ttotal\t\t%s\n", l.Bytes, terminal.Counted(l.Objects, "object"))
		return w.Flush()
	}
	fmt.Fprintln(w, "STATE\tROWS\tBYTES\tVERIFIED\tKEY")
	for _, p := range l.Archives {
		verified := "-"
		if !p.VerifiedAt.IsZero() {
			verified = p.VerifiedAt.UTC().Format(time.RFC3339)
		}
		state := string(p.State)
		if !p.ExpiredAt.IsZero() {
			state = "expired"
		}
		key := p.Key
		if l.several {
			key = p.Target + ": " + key
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", state, p.Rows, p.ObjectBytes, verified, terminal.Safe(key))
	}
	fmt.Fprintf(w, "total\t%d\t%d\t\t%s, %s of NDJSON\n", l.Rows, l.Bytes, terminal.Counted(l.Objects, "object"), terminal.Counted(l.RawBytes, "byte"))
	return w.Flush()
}
