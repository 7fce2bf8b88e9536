package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/process/books"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// Rebuilt describes the result of [Statistics] and [Compare].
type Rebuilt struct {
	*reader.Rebuilt
	Epochs int         `json:"epochs"`
	Into   string      `json:"into,omitempty"`
	Local  *Comparison `json:"local,omitempty"`
}

// Comparison compares the rows of an archive with those of a store.
type Comparison struct {
	Equal     int      `json:"equal"`     // rows that are the same in every count and every bin
	Different int      `json:"different"` // rows that are on both sides but differ
	Missing   int      `json:"missing"`   // rows of these hours that are on only one side
	Examples  []string `json:"examples,omitempty"`
}

// Statistics creates a data directory in dir, which must not contain a store, with the hourly statistics of an archive, its catalogue,
// and a path table according to cfg. `wayside run` can continue with that directory.
func Statistics(ctx context.Context, from uploader.Target, dir string, cfg *configs.Config, o reader.RebuildOptions) (done Rebuilt, err error) {
	err = newDataDir(dir, func(s *store.Store) error {
		known := collector.NewKnownRows()
		o.Hour = func(keys []stats.Key, rows []*stats.Row) error {
			known.Add(keys, rows)
			return s.ImportRows(ctx, keys, rows)
		}
		built, err := reader.Rebuild(ctx, from, o)
		if err == nil {
			err = relearn(ctx, s, cfg, known)
		}
		if err != nil {
			return err
		}
		done = Rebuilt{Rebuilt: built, Epochs: len(built.Epochs), Into: dir}
		for _, epoch := range inOrder(built.Epochs) {
			sum := built.Epochs[epoch]
			for i := range sum.Plans {
				sum.Plans[i].Target = uploader.Rebase(sum.Plans[i].Target, cfg.Data.Dir, dir)
			}
			err := s.ImportEpoch(ctx, store.ImportedEpoch{
				Epoch: epoch, LastSeq: sum.LastSeq, Responses: sum.Responses, Dropped: sum.Dropped(), Drops: sum.Drops, Plans: sum.Plans,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return done, err
}

// relearn recomputes the path table from the rows.
func relearn(ctx context.Context, s *store.Store, cfg *configs.Config, known *collector.KnownRows) error {
	labeler, err := books.NewLabeler(cfg)
	if err != nil {
		return err
	}
	return s.SetPathState(ctx, known.Relearn(labeler))
}

// Compare adds up the statistics in an archive and compares them with a copy of the store in dir, if there is one. The error wraps
// [datadir.ErrInUse] if a wayside is using the directory.
func Compare(ctx context.Context, from uploader.Target, dir string, o reader.RebuildOptions) (done Rebuilt, err error) {
	var s *store.Store
	if _, err := os.Stat(filepath.Join(dir, datadir.StoreDir)); err == nil {
		var end func() error
		s, end, err = books.OpenCopy(dir, slog.New(slog.DiscardHandler))
		if errors.Is(err, datadir.ErrInUse) {
			if info, runs := datadir.ReadInfo(dir); runs == nil {
				return done, fmt.Errorf("%w: wayside is using %s (pid %d); stop it, or give --into", datadir.ErrInUse, dir, info.PID)
			}
			return done, fmt.Errorf("%w; stop it, or give --into", err)
		}
		if err != nil {
			return done, err
		}
		defer func() { err = errors.Join(err, end()) }()
		done.Local = &Comparison{}
		o.Whole = true
		o.Hour = func(keys []stats.Key, rows []*stats.Row) error { return done.Local.hour(ctx, s, keys, rows) }
	}
	if done.Rebuilt, err = reader.Rebuild(ctx, from, o); err != nil {
		return done, err
	}
	done.Epochs = len(done.Rebuilt.Epochs)
	return done, nil
}

// examplesMax limits the number of differences that are described.
const examplesMax = 10

// hour compares the rows of one hour.
func (c *Comparison) hour(ctx context.Context, s *store.Store, keys []stats.Key, rows []*stats.Row) error {
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
			differ(&c.Missing, k, "%d responses only in the store", local.Count)
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
		differ(&c.Missing, k, "%d responses only in the archive", row.Count)
	}
	return err
}
