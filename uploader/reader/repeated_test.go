package reader_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// archiveUpTo archives the events of an epoch up to each of these sequence numbers in turn, from a store that then
// dies.
func archiveUpTo(t *testing.T, target uploader.Target, epoch uuid.UUID, ends ...uint64) *store.Store {
	t.Helper()
	dir, quiet := t.TempDir(), slog.New(slog.DiscardHandler)
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	u, err := uploader.New(uploader.Options{Source: s, Catalogue: s, Target: target, Service: "shop", Instance: "x", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	for _, end := range ends {
		b := &store.Batch{Epoch: epoch, LastSeq: end}
		for seq++; seq <= end; seq++ {
			label := "/a"
			if seq%3 == 0 {
				label = "/b"
			}
			b.Items = append(b.Items, store.Item{Seq: seq, Host: "h", Method: "GET", Label: label, Event: event.Event{
				TimeMicros: start.UnixMicro() + int64(seq)*1000, Kind: event.KindRequest, Status: 200, DurationMicros: seq,
				Method: []byte("GET"), Host: []byte("h"), Path: []byte(label),
			}})
		}
		seq = end
		if err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
		if _, err := u.ArchiveOnce(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestRepeatedEventsCountOnce: a data directory was restored from a backup twice, and archived its events again, in
// objects with other bounds: 1-400, 401-1000, 1-600, 601-700.
func TestRepeatedEventsCountOnce(t *testing.T) {
	epoch := uuid.UUID{6: 0x70, 8: 0x80, 15: 1}
	l := &library{dir: t.TempDir()}
	var err error
	if l.target, err = uploader.OpenTarget(t.Context(), l.dir, uploader.TargetOptions{}); err != nil {
		t.Fatal(err)
	}
	l.store = archiveUpTo(t, l.target, epoch, 400, 1000)
	archiveUpTo(t, l.target, epoch, 600, 700)

	repeated := func(t *testing.T, list []reader.Repeated, want uint64) {
		t.Helper()
		n := uint64(0)
		for _, r := range list {
			n += r.Responses
		}
		if n != want {
			t.Errorf("left out %+v, want %d responses in all", list, want)
		}
	}
	for _, origin := range []reader.Origin{reader.FromBest, reader.FromStatistics, reader.FromEvents} {
		built := wantRows(t, l, reader.RebuildOptions{From: origin})
		if sum := built.Epochs[epoch]; built.Responses != 1000 || sum.Responses != 1000 || sum.LastSeq != 1000 || len(sum.Plans) != 4 || len(built.Problems) > 0 {
			t.Errorf("from %s: %+v", origin, built)
		}
		repeated(t, built.Repeated, 700)
		counted := uint64(0)
		for i := range built.Epochs[epoch].Plans {
			counted += built.Epochs[epoch].Plans[i].Counted()
		}
		if counted != 1000 {
			t.Errorf("from %s: the catalogue counts %d", origin, counted)
		}
	}

	var out bytes.Buffer
	c, err := reader.Cat(t.Context(), l.target, reader.Filter{}, &out, 0)
	if err != nil || c.Lines != 1000 || c.Repeated != 700 || strings.Count(out.String(), "\n") != 1000 {
		t.Errorf("cat: %+v, %v", c, err)
	}
	to, err := uploader.OpenTarget(t.Context(), t.TempDir(), uploader.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	copied, err := reader.Copy(t.Context(), l.target, to, reader.CopyOptions{})
	if err != nil || copied.Rows != 1000 || copied.Objects != 3 { // 601-700 is in 401-1000
		t.Errorf("copy: %+v, %v", copied, err)
	}
	repeated(t, copied.Repeated, 700)
	var numbers []catalogue.Run
	err = reader.Merge(t.Context(), to, copied.Events, func(_ *uploader.Object, l *uploader.Line) error {
		numbers = append(numbers, catalogue.Run{First: l.Seq, Last: l.Seq})
		return nil
	})
	if err != nil || len(numbers) != 1000 || !slices.IsSortedFunc(numbers, func(a, b catalogue.Run) int { return int(a.First) - int(b.First) }) {
		t.Errorf("merge: %d lines, %v", len(numbers), err)
	}

	object := func(name string) string {
		found, err := filepath.Glob(filepath.Join(l.dir, "v1", "dt=*", "hour=*", "*_"+name+".ndjson.gz"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return found[0]
	}
	// The events of one object have expired. Its statistics can only be counted as a whole, so the events of the others
	// are used.
	if err := os.Remove(object("1-600")); err != nil {
		t.Fatal(err)
	}
	built := wantRows(t, l, reader.RebuildOptions{})
	if repeated(t, built.Repeated, 700); built.Responses != 1000 || len(built.Problems) > 0 {
		t.Errorf("one without events: %+v", built)
	}
	// Two objects without events overlap in part. It is unknown which events a row counts, so one object is left out
	// and reported.
	if err := os.Remove(object("401-1000")); err != nil {
		t.Fatal(err)
	}
	built, err = reader.Rebuild(t.Context(), l.target, reader.RebuildOptions{})
	if err != nil || len(built.Problems) != 1 || built.Responses != 700 {
		t.Errorf("two without events: %+v, %v", built, err)
	}
}
