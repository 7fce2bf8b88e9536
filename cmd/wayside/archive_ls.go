package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// listing is what archive ls prints.
type listing struct {
	Objects  int              `json:"objects"`
	Rows     uint64           `json:"rows"` // as far as the catalogue knows them
	Bytes    uint64           `json:"bytes"`
	RawBytes uint64           `json:"raw_bytes,omitempty"`
	Archives []catalogue.Plan `json:"archives,omitempty"`
	Bucket   []reader.Object  `json:"bucket,omitempty"`

	several bool // the entries are in more than one archive
}

func newArchiveLs() *cobra.Command {
	var f archiveFlags
	var output, state string
	cmd := &cobra.Command{
		Use: "ls", Short: "List the archive's objects by range, with totals",
		Long: "ls lists what the catalogue knows, or, with --bucket or where there is no catalogue, what stands in the bucket,\n" +
			"objects of other services and instances included.",
		Example: "wayside archive ls --from -24h --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
			if !slices.Contains([]catalogue.State{"", catalogue.Planned, catalogue.Verified, catalogue.Deleted}, catalogue.State(state)) {
				return cli.Usagef(cmd, "--state %q: want planned, verified or deleted", state)
			}
			b, err := f.open(ctx, cmd)
			if err != nil {
				return err
			}
			var l listing
			bucket := b.bucketOnly
			if !bucket {
				plans, err := b.plans(ctx)
				bucket = errors.Is(err, books.ErrNoCatalogue)
				if err != nil && !bucket {
					return err
				}
				l.addPlans(plans, b.span, catalogue.State(state))
			}
			if bucket {
				l.Bucket = []reader.Object{}
				bar := terminal.NewProgress(cmd.ErrOrStderr(), "asking "+b.target.String())
				defer bar.End()
				err = reader.List(ctx, b.target, b.span, func(o reader.Object) error {
					l.Objects++
					l.Bytes += uint64(max(o.Size, 0)) //nolint:gosec // not negative
					l.Bucket = append(l.Bucket, o)
					bar.Step(l.Objects, 0, terminal.Counted(l.Objects, "object")+", "+o.Key)
					return nil
				})
				bar.End()
				if err != nil {
					return err
				}
			}
			if output == "json" {
				return json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(l)
			}
			return l.print(cmd)
		},
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	cmd.Flags().StringVar(&state, "state", "", "planned, verified or deleted (locally)")
	return cmd
}

// addPlans takes the plans whose hour the range touches, in the order of hours.
func (l *listing) addPlans(plans []catalogue.Plan, span reader.Range, state catalogue.State) {
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

func (l *listing) print(cmd *cobra.Command) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
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
