// Package logimport reads the access logs of other servers, and counts their responses in a data directory, so that the statistics can
// include the time before a service used wayside. The rows are marked as imported ([stats.ImportedRoute]), and the accounting does not
// include them.
//
// Each line is counted exactly once. A file is recognized by its content. Each transaction writes some rows together with the length and
// the checksum of the part of the file that has been counted with them. So after a crash or an interruption, the next call continues
// after that part, and a file that was imported before adds nothing, even under a different name or in compressed form. Two copies of a
// log that differ in any place are two logs; if they begin with the same line, the second one is refused unless Options.Separate is set.
package logimport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/weblog"
	"github.com/wayside-proxy/wayside/process/books"
)

// Options determine which access logs [Import] imports, and how.
type Options struct {
	Files          []string
	Parser         weblog.Parser // if it has no format, the first line of each file determines that file's format
	SkipUnreadable bool          // import files even if some lines cannot be read
	Separate       bool          // import files that begin like an imported file but continue differently
	DryRun         bool          // read everything and import nothing
	Progress       func(done, total int, what string)
}

// unreadableMax limits the number of unreadable lines that are described.
const unreadableMax = 10

// File is the result for one file.
type File struct {
	Name       string        `json:"name"`
	Format     weblog.Format `json:"format,omitempty"`
	Lines      uint64        `json:"lines"`
	Known      uint64        `json:"known"`     // lines that an earlier import has counted
	Responses  uint64        `json:"responses"` // counted by this import
	Untimed    uint64        `json:"untimed"`   // number of these that have no duration
	Others     uint64        `json:"others"`    // lines of this import that do not describe a response
	Unreadable uint64        `json:"unreadable"`
	Problems   []string      `json:"problems,omitempty"` // the first unreadable lines
	Unfinished bool          `json:"unfinished"`         // whether the last line is incomplete and was skipped
	From       *time.Time    `json:"from,omitempty"`     // oldest response of this import
	To         *time.Time    `json:"to,omitempty"`
}

// ErrUnreadable means that files contain lines that cannot be read.
var ErrUnreadable = errors.New("some lines cannot be read")

// ErrOtherLog means that a file begins like an imported one and continues differently.
var ErrOtherLog = errors.New("it begins like an imported log, but continues differently")

// Import counts the responses in access logs of other servers, by hour and path, in the data directory of cfg. It creates the directory
// if necessary; no wayside may be using it. Import first reads all files. If a line cannot be read, it imports nothing and returns
// ErrUnreadable together with the complete results, unless o.SkipUnreadable is set. Lines that were imported before are not counted
// again: a file is recognized by its content, even under a different name or in compressed form, and if a file has grown, only the rest
// is imported. After an interruption, the next call continues the import.
func Import(ctx context.Context, cfg *configs.Config, log *slog.Logger, o Options) (files []File, err error) {
	for _, name := range o.Files {
		f, err := checkLog(ctx, name, &o)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	for i := range files {
		if files[i].Unreadable > 0 && !o.SkipUnreadable {
			return files, ErrUnreadable
		}
	}
	if o.DryRun {
		return files, nil
	}
	s, done, err := openForImport(cfg, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	labeler, err := restoredLabeler(cfg, s)
	if err != nil {
		return nil, err
	}
	for i := range files {
		w := fileImport{o: &o, s: s, labeler: labeler, file: &files[i]}
		if err := w.run(ctx); err != nil {
			return files, fmt.Errorf("import %s: %w", files[i].Name, err)
		}
	}
	return files, nil
}

// openForImport opens the store of a data directory that no wayside is using.
func openForImport(cfg *configs.Config, log *slog.Logger) (s *store.Store, done func() error, err error) {
	dir := cfg.Data.Dir
	if err := datadir.Create(dir); err != nil {
		return nil, nil, err
	}
	if err := datadir.CheckUser(dir); err != nil {
		return nil, nil, err
	}
	run, err := datadir.Acquire(dir, datadir.RunLock)
	if err != nil {
		return nil, nil, err
	}
	collect, err := datadir.Acquire(dir, datadir.CollectLock)
	if err != nil {
		return nil, nil, errors.Join(err, run.Release())
	}
	release := func() error { return errors.Join(collect.Release(), run.Release()) }
	s, err = store.Open(store.Options{
		Dir: filepath.Join(dir, datadir.StoreDir), QuarantineDir: filepath.Join(dir, datadir.Quarantine), Logger: log, RefuseDamaged: true,
	})
	if err != nil {
		return nil, nil, errors.Join(err, release())
	}
	return s, func() error { return errors.Join(s.Close(), release()) }, nil
}

// restoredLabeler restores the path table of a store. Entries that cannot be read are learned again.
func restoredLabeler(cfg *configs.Config, s *store.Store) (*paths.Labeler, error) {
	labeler, err := books.NewLabeler(cfg)
	if err != nil {
		return nil, err
	}
	return labeler, s.PathState(func(key, value []byte) error {
		if err := labeler.Restore(key, value); err != nil && !errors.Is(err, paths.ErrState) {
			return err
		}
		return nil
	})
}

// checkLog reads a whole file, and finds its format and the lines that cannot be read.
func checkLog(ctx context.Context, name string, o *Options) (f File, err error) {
	f = File{Name: name, Format: o.Parser.Format}
	parser := o.Parser
	var e event.Event
	err = eachLine(ctx, name, o, "checking", func(in *weblog.File, line []byte, long error) error {
		f.Lines++
		if f.Format == "" && long == nil && len(line) > 0 {
			if f.Format, err = weblog.Detect(line); err != nil {
				return fmt.Errorf("line %d: %w; specify the format with --format", in.Line, err)
			}
		}
		parser.Format = f.Format
		if err := parseLine(&parser, line, long, &e); err != nil && !errors.Is(err, weblog.ErrNoResponse) {
			f.Unreadable++
			if len(f.Problems) < unreadableMax {
				f.Problems = append(f.Problems, fmt.Sprintf("line %d: %v", in.Line, err))
			}
		}
		return nil
	}, func(in *weblog.File) error {
		f.Unfinished = in.Unfinished
		return nil
	})
	if err != nil {
		return f, fmt.Errorf("check %s: %w", name, err)
	}
	return f, nil
}

// parseLine parses a line. The line may be too long, or empty; an empty line is not a response.
func parseLine(p *weblog.Parser, line []byte, long error, e *event.Event) error {
	if long != nil {
		return long
	}
	if len(line) == 0 {
		return weblog.ErrNoResponse
	}
	_, err := p.Parse(line, e)
	return err
}

// progressLines is the number of lines after which the progress is shown again.
const progressLines = 10_000

// eachLine calls fn with every line of a file, and then calls end. long is [weblog.ErrLong] for a line that was skipped because it is too
// long.
func eachLine(
	ctx context.Context, name string, o *Options, verb string,
	fn func(in *weblog.File, line []byte, long error) error, end func(in *weblog.File) error,
) (err error) {
	in, err := weblog.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for {
		line, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return end(in)
		case err != nil && !errors.Is(err, weblog.ErrLong):
			return err
		}
		if in.Line%progressLines == 1 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if o.Progress != nil {
				o.Progress(int(in.Read()>>20), int(in.Size()>>20), fmt.Sprintf("MiB of %s, %s line %d", filepath.Base(name), verb, in.Line))
			}
		}
		if err := fn(in, line, err); err != nil {
			return err
		}
	}
}

// fileImport imports one file.
type fileImport struct {
	o       *Options
	s       *store.Store
	labeler *paths.Labeler
	file    *File

	log  store.ImportedLog // the part of the log that has been counted durably
	rows map[stats.Key]*stats.Row
	next store.ImportedLog // the same, including what is counted in rows
}

// writeLines is the largest number of lines between two transactions. After an interruption, at most this many lines must be counted
// again.
const writeLines = 50_000

// run finds out how much of the file has already been counted, and counts the rest.
func (w *fileImport) run(ctx context.Context) error {
	if err := w.find(ctx); err != nil {
		return err
	}
	w.file.Known, w.next = w.log.Lines, w.log
	w.rows = map[stats.Key]*stats.Row{}
	w.labeler.Begin()
	parser := w.o.Parser
	parser.Format = w.file.Format
	known := w.log.Bytes
	var e event.Event
	err := eachLine(ctx, w.file.Name, w.o, "importing", func(in *weblog.File, line []byte, long error) error {
		if in.Offset <= known {
			return nil
		}
		if in.Line == 1 {
			w.next.FirstLine = sumOf(line)
		}
		w.add(&parser, line, long, &e)
		if len(w.rows) < store.ImportRowsMax && w.next.Lines-w.log.Lines < writeLines {
			return nil
		}
		return w.write(ctx, in)
	}, func(in *weblog.File) error { return w.write(ctx, in) })
	if err != nil {
		return err
	}
	return w.s.CoverImportedLog(w.next.ID)
}

// find sets log to the imported log of which the file is a continuation, or to a new one.
func (w *fileImport) find(ctx context.Context) error {
	at, first := map[int64][]store.ImportedLog{}, map[string]store.ImportedLog{}
	for _, l := range w.s.ImportedLogs() {
		at[l.Bytes] = append(at[l.Bytes], l)
		first[l.FirstLine] = l
	}
	w.log = store.ImportedLog{ID: uuid.New()}
	var other *store.ImportedLog
	err := eachLine(ctx, w.file.Name, w.o, "comparing", func(in *weblog.File, line []byte, _ error) error {
		if in.Line == 1 {
			if l, ok := first[sumOf(line)]; ok {
				other = &l
			}
		}
		for _, l := range at[in.Offset] {
			if l.SHA256 == in.SHA256() {
				w.log = l
			}
		}
		return nil
	}, func(*weblog.File) error { return nil })
	if err == nil && w.log.Bytes == 0 && other != nil && !w.o.Separate {
		return fmt.Errorf("%w: of %s, %d bytes were imported; is this file an older copy of that log? Nothing was imported from this file. If it is "+
			"the log of another server, add --separate", ErrOtherLog, other.Name, other.Bytes)
	}
	return err
}

func sumOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// add counts a line in the rows.
func (w *fileImport) add(p *weblog.Parser, line []byte, long error, e *event.Event) {
	w.next.Lines++
	var timed bool
	err := long
	switch {
	case err == nil && len(line) == 0:
		err = weblog.ErrNoResponse
	case err == nil:
		timed, err = p.Parse(line, e)
	}
	if err != nil {
		if w.next.Skipped++; errors.Is(err, weblog.ErrNoResponse) {
			w.file.Others++
		}
		return
	}
	name := w.labeler.Label(e)
	key := stats.Key{Hour: stats.HourOfMicros(e.TimeMicros), Host: name.Host, Method: name.Method, Label: name.Label, Route: stats.ImportedRoute}
	row := w.rows[key]
	if row == nil {
		row = new(stats.Row)
		w.rows[key] = row
	}
	if timed {
		row.Add(e)
	} else {
		row.AddUntimed(e)
		w.file.Untimed++
	}
	at := time.UnixMicro(e.TimeMicros).UTC()
	w.file.Responses++
	w.next.Responses++
	w.next.From, w.next.To = earlier(w.next.From, at), later(w.next.To, at)
	from, to := at, at
	if w.file.From != nil {
		from, to = earlier(*w.file.From, at), later(*w.file.To, at)
	}
	w.file.From, w.file.To = &from, &to
}

// earlier and later compare a time with one that may be unset.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// write writes the rows, together with the position up to which the file has been counted. It writes the path labels first: they are
// valid without the rows, so a crash between the two steps loses nothing.
func (w *fileImport) write(ctx context.Context, in *weblog.File) error {
	if in.Offset == w.log.Bytes {
		return nil
	}
	var changes []store.StateChange
	for _, c := range w.labeler.Changes() {
		changes = append(changes, store.StateChange(c))
	}
	if err := w.s.SetPathState(ctx, changes); err != nil {
		return err
	}
	w.labeler.Commit()
	w.next.Name, w.next.Bytes, w.next.SHA256, w.next.At = filepath.Base(w.file.Name), in.Offset, in.SHA256(), clock.Now().UTC()
	keys, rows := make([]stats.Key, 0, len(w.rows)), make([]*stats.Row, 0, len(w.rows))
	for key, row := range w.rows {
		keys, rows = append(keys, key), append(rows, row)
	}
	if err := w.s.ImportLogRows(w.next, keys, rows); err != nil {
		return err
	}
	w.log = w.next
	clear(w.rows)
	return nil
}
