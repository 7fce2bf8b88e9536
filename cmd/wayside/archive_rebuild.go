package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/collector/stats"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// rebuildDone is what archive rebuild prints.
type rebuildDone struct {
	*reader.Rebuilt
	Epochs int         `json:"epochs"`
	Into   string      `json:"into,omitempty"`
	Local  *comparison `json:"local,omitempty"`
}

// comparison is how rows from the archive compare with those of the data directory.
type comparison struct {
	Equal     int      `json:"equal"`     // rows that are the same in every count and every bin
	Different int      `json:"different"` // rows that are in both and differ
	Missing   int      `json:"missing"`   // rows of these hours that only one side has
	Examples  []string `json:"examples,omitempty"`
}

func newArchiveRebuild() *cobra.Command {
	var f archiveFlags
	var output, into, from, service, instance string
	cmd := &cobra.Command{
		Use: "rebuild", Short: "Make the hourly statistics again from the archive alone",
		Long: "rebuild adds up the statistics objects, or with --origin events the events themselves. With --into it writes them,\n" +
			"and the catalogue, into a new data directory, with which wayside run goes on: what the dead disk knew is there again.\n" +
			"Each event counts once, however many objects have it. An object that is damaged is left out and named, with exit code 1.\n" +
			"Without --into it compares them with the store in --data (which no wayside may be using) and changes nothing; it\n" +
			"exits 1 if a row differs. Hours of which something is not archived yet differ by that.",
		Example: "wayside archive rebuild --archive s3://bucket/prefix --into ./wayside-data",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
			origin := reader.Origin(from)
			if !slices.Contains([]reader.Origin{reader.FromBest, reader.FromStatistics, reader.FromEvents}, origin) {
				return &usageError{fmt.Errorf("--origin %q: want best, statistics or events", from), exampleOf(cmd)}
			}
			b, err := f.open(ctx, cmd)
			if err != nil {
				return err
			}
			away := b.everywhere(ctx, cmd)
			bar := terminal.NewProgress(cmd.ErrOrStderr(), "asking "+b.target.String())
			defer bar.End()
			o := reader.RebuildOptions{Range: b.span, Service: service, Instance: instance, From: origin, Progress: bar.Step}
			var done rebuildDone
			if into != "" {
				done, err = b.rebuildInto(ctx, into, o)
			} else {
				done, err = b.compareRebuilt(ctx, o)
			}
			bar.End()
			if err != nil {
				return err
			}
			return errors.Join(done.print(cmd, output), away)
		},
	}
	f.bind(cmd)
	bindOutput(cmd, &output)
	cmd.Flags().StringVar(&into, "into", "", "new data directory to write")
	cmd.Flags().StringVar(&from, "origin", string(reader.FromBest), "best, statistics or events")
	cmd.Flags().StringVar(&service, "of-service", "", "only objects of this service")
	cmd.Flags().StringVar(&instance, "of-instance", "", "only objects of this instance")
	return cmd
}

func (d rebuildDone) print(cmd *cobra.Command, output string) error {
	out := cmd.OutOrStdout()
	if output == "json" {
		if err := json.NewEncoder(terminal.JSON(out)).Encode(d); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%s of %s, %s in %s, from %s and %s\n", terminal.Counted(d.Rows, "row"), terminal.Counted(d.Hours, "hour"), terminal.Counted(d.Responses, "response"),
			terminal.Counted(d.Epochs, "epoch"), terminal.Counted(d.FromStatistics, "statistics object"), terminal.Counted(d.FromEvents, "event object"))
		if d.Dropped > 0 {
			fmt.Fprintf(out, "not recorded, say the drop records: %s\n", terminal.Counted(d.Dropped, "response"))
		}
		reportRepeated(out, d.Repeated)
		if d.Into != "" {
			fmt.Fprintf(out, "written into %s; look at it: wayside archive serve --data %s\n", d.Into, d.Into)
		}
		if l := d.Local; l != nil {
			fmt.Fprintf(out, "%d rows equal those of the store, %d differ, %d are on one side only\n", l.Equal, l.Different, l.Missing)
			for _, e := range l.Examples {
				fmt.Fprintln(out, " ", terminal.Safe(e))
			}
		}
	}
	if err := unreadable(cmd, d.Problems); err != nil {
		return err
	}
	if l := d.Local; l != nil && l.Different+l.Missing > 0 {
		return fmt.Errorf("statistics from the archive differ from those of the store in %d rows", l.Different+l.Missing)
	}
	return nil
}

func (b *archiveBooks) rebuildInto(ctx context.Context, dir string, o reader.RebuildOptions) (done rebuildDone, err error) {
	err = newDataDir(dir, func(s *store.Store) error {
		known := newKnownRows()
		o.Hour = func(keys []stats.Key, rows []*stats.Row) error {
			known.add(keys, rows)
			return s.ImportRows(ctx, keys, rows)
		}
		built, err := reader.Rebuild(ctx, b.target, o)
		if err == nil {
			err = known.relearn(ctx, s, b.cfg)
		}
		if err != nil {
			return err
		}
		done = rebuildDone{Rebuilt: built, Epochs: len(built.Epochs), Into: dir}
		for epoch, sum := range built.Epochs {
			err := s.ImportEpoch(ctx, store.ImportedEpoch{
				Epoch: epoch, LastSeq: sum.LastSeq, Responses: sum.Responses, Dropped: sum.Dropped(), Told: sum.Told, Plans: sum.Plans,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return done, err
}

// compareRebuilt compares with the store of the data directory, where there is one.
func (b *archiveBooks) compareRebuilt(ctx context.Context, o reader.RebuildOptions) (done rebuildDone, err error) {
	dir := b.cfg.Data.Dir
	var s *store.Store
	if _, err := os.Stat(filepath.Join(dir, datadir.StoreDir)); err == nil {
		var end func() error
		s, end, err = openCopy(dir, slog.New(slog.DiscardHandler))
		if errors.Is(err, datadir.ErrInUse) {
			if info, runs := datadir.ReadInfo(dir); runs == nil {
				return done, fmt.Errorf("%w: wayside runs on %s with pid %d; stop it, or give --into", datadir.ErrInUse, dir, info.PID)
			}
			return done, fmt.Errorf("%w; stop it, or give --into", err)
		}
		if err != nil {
			return done, err
		}
		defer func() { err = errors.Join(err, end()) }()
		done.Local = &comparison{}
		o.Whole = true
		o.Hour = func(keys []stats.Key, rows []*stats.Row) error { return done.Local.hour(ctx, s, keys, rows) }
	}
	if done.Rebuilt, err = reader.Rebuild(ctx, b.target, o); err != nil {
		return done, err
	}
	done.Epochs = len(done.Rebuilt.Epochs)
	return done, nil
}

// examplesMax bounds the differences that are told one by one.
const examplesMax = 10

// hour compares the rows of one hour.
func (c *comparison) hour(ctx context.Context, s *store.Store, keys []stats.Key, rows []*stats.Row) error {
	archived := map[stats.Key]*stats.Row{}
	for i, k := range keys {
		archived[k] = rows[i]
	}
	differ := func(n *int, k stats.Key, format string, args ...any) {
		*n++
		if len(c.Examples) < examplesMax {
			c.Examples = append(c.Examples, fmt.Sprintf("%d %s %s %s: ", k.Hour, k.Host, k.Method, k.Label)+fmt.Sprintf(format, args...))
		}
	}
	err := s.Rows(ctx, keys[0].Hour, keys[0].Hour+1, func(k stats.Key, local *stats.Row) error {
		row := archived[k]
		delete(archived, k)
		if row == nil {
			differ(&c.Missing, k, "%d responses in the store only", local.Count)
			return nil
		}
		x, _ := row.AppendBinary(nil) // its error is always nil
		y, _ := local.AppendBinary(nil)
		if bytes.Equal(x, y) {
			c.Equal++
		} else {
			differ(&c.Different, k, "%d responses in the archive, %d in the store", row.Count, local.Count)
		}
		return nil
	})
	for k, row := range archived {
		differ(&c.Missing, k, "%d responses in the archive only", row.Count)
	}
	return err
}
