package uploader_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/uploader"
)

// refusing is a target that is unavailable.
type refusing struct{ uploader.Target }

func (refusing) Put(context.Context, string, io.ReadSeeker, int64, map[string]string) error {
	return errors.New("the target is away")
}

// TestWithTheRealStore runs archiving and retention on the store itself: an open plan is finished after a restart, and
// the store's totals agree with the lines in the objects.
func TestWithTheRealStore(t *testing.T) {
	// Shutdown may try as long as ctx allows.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	dir := t.TempDir()
	target, err := uploader.OpenTarget(ctx, filepath.Join(dir, "archive"), uploader.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir)
	epoch := uuid.Must(uuid.NewV7())
	start := time.Date(2026, 1, 23, 9, 59, 59, 0, time.UTC)
	for batch := range 10 {
		applyBatch(t, s, epoch, start, uint64(batch)*500+1)
	}
	if _, err := newUploader(t, s, refusing{target}).ArchiveOnce(ctx, true); err == nil {
		t.Fatal("archived to a target that is away")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = openStore(t, dir)
	defer s.Close()
	u := newUploader(t, s, target)
	r, err := u.Shutdown(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r.Rows != 4990 || r.Lines != 5000 || r.Resumed != 1 || r.Objects < 2 { // each batch has one drop record
		t.Fatalf("result is %+v", r)
	}
	count, err := uploader.CountTarget(ctx, target)
	if err != nil || count.Lines != 5000 || count.Rows != 4990 || count.Distinct != 5000 || count.Objects != r.Objects {
		t.Fatalf("the objects hold %+v, %v", count, err)
	}
	wantTotals(t, s, 4990, 0)

	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if c, err := u.CleanOnce(ctx); err != nil || c.Rows != 4990 {
		t.Fatalf("retention did %+v, %v", c, err)
	}
	wantTotals(t, s, 4990, 4990)
	if again, err := u.ArchiveOnce(ctx, true); err != nil || again.Objects != 0 {
		t.Fatalf("a last run did %+v, %v", again, err)
	}
}

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newUploader(t *testing.T, s *store.Store, target uploader.Target) *uploader.Uploader {
	t.Helper()
	u, err := uploader.New(uploader.Options{
		Source: s, Catalogue: s, Target: target, RetentionEvents: -1, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Second) }, // immediate retention means older than now
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// applyBatch applies 500 events before and after the end of an hour, with a gap in the sequence and a drop record.
func applyBatch(t *testing.T, s *store.Store, epoch uuid.UUID, start time.Time, first uint64) {
	t.Helper()
	b := &store.Batch{Epoch: epoch, LastSeq: first + 499}
	for i := range uint64(500) {
		b.Items = append(b.Items, itemOf(start, first+i))
	}
	if err := s.Apply(b); err != nil {
		t.Fatal(err)
	}
}

// itemOf returns the event with a number. Starting with the 251st, every 500th is a drop record.
func itemOf(start time.Time, seq uint64) store.Item {
	it := store.Item{Seq: seq, Host: "example.com", Method: "GET", Label: "/users/{id}", Event: event.Event{
		TimeMicros: start.UnixMicro() + int64(seq)*400, Kind: event.KindRequest, Status: 200, DurationMicros: 1000,
		Method: []byte("GET"), Host: []byte("example.com"), Path: fmt.Appendf(nil, "/users/%d", seq),
	}}
	if seq%500 == 251 {
		it = store.Item{Seq: seq, Event: event.Event{
			TimeMicros: start.UnixMicro() + int64(seq)*400, Kind: event.KindDrop, ErrorType: []byte("full"), RequestBytes: 7,
		}}
	}
	it.Record = make([]byte, it.Event.Size())
	it.Event.Encode(it.Record)
	return it
}

func wantTotals(t *testing.T, s *store.Store, archived, deleted uint64) {
	t.Helper()
	totals, err := s.Totals()
	if err != nil || totals.Archived != archived || totals.Deleted != deleted || totals.Applied != 4990 {
		t.Fatalf("totals are %+v, %v", totals, err)
	}
}
