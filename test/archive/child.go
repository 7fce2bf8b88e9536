package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/uploader"
)

const childCommand = "child"

// killBatch is the number of events that the child applies at a time, all in one hour.
const killBatch = 400

// The child reports each phase with one byte, so the parent knows the phase in which the child was killed.
const (
	phaseApply  = 'a'
	phasePlan   = 'p'
	phasePut    = 'u'
	phaseGet    = 'g'
	phaseMark   = 'm'
	phaseDelete = 'd'
	phaseOther  = '.'
)

// report writes a phase to the parent. The kernel has the byte when Write returns, so a kill cannot lose it.
func report(phase byte) { _, _ = os.Stdout.Write([]byte{phase}) }

// child is the process that is killed. It applies, archives and cleans forever. With -finish, it archives the remaining events and exits.
func child(args []string) int {
	flags := flag.NewFlagSet(childCommand, flag.ExitOnError)
	dir := flags.String("dir", "", "")
	archive := flags.String("archive", "", "")
	seed := flags.Uint64("seed", 1, "")
	finish := flags.Bool("finish", false, "")
	_ = flags.Parse(args)
	if err := runChild(*dir, *archive, *seed, *finish); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

func runChild(dir, archive string, seed uint64, finish bool) error {
	ctx := context.Background()
	s, err := openStore(dir)
	if err != nil {
		return err
	}
	target, err := uploader.OpenTarget(ctx, archive, uploader.TargetOptions{})
	if err != nil {
		return err
	}
	u, err := uploader.New(uploader.Options{
		Source: s, Catalogue: audited{s, target}, Target: reporting{target}, Service: "shop", Instance: "kill", After: -1, RetentionEvents: -1,
		ObjectBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Second) }, // retention deletes only events that are older than now
	})
	if err != nil {
		return err
	}
	report(phaseOther)
	for !finish {
		if err := applyNext(s, seed); err != nil {
			return err
		}
		if err := archiveAndClean(ctx, u); err != nil {
			return err
		}
	}
	return errors.Join(archiveAndClean(ctx, u), s.Close())
}

func openStore(dir string) (*store.Store, error) {
	return store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
	})
}

// applyNext applies the batch that follows the watermark. From batch to batch, the times of the events cycle through three different hours,
// so that objects are planned for more than one hour.
func applyNext(s *store.Store, seed uint64) error {
	first := s.Watermarks()[epoch] + 1
	n := first / killBatch
	start := monday.Add(time.Duration(n%3)*time.Hour + time.Duration(n)*100*time.Millisecond)
	report(phaseApply)
	err := s.Apply(maker{seed: seed, perEvent: 100 * time.Microsecond}.batch(first, killBatch, start))
	report(phaseOther)
	return err
}

func archiveAndClean(ctx context.Context, u *uploader.Uploader) error {
	_, err := u.ArchiveOnce(ctx, true)
	if err == nil {
		_, err = u.CleanOnce(ctx)
	}
	return err
}

// reporting is a target that also reports the phase of its caller.
type reporting struct{ uploader.Target }

func (t reporting) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, meta map[string]string) error {
	report(phasePut)
	defer report(phaseOther)
	return t.Target.Put(ctx, key, body, size, meta)
}

func (t reporting) Get(ctx context.Context, key string) (io.ReadCloser, map[string]string, error) {
	report(phaseGet)
	return t.Target.Get(ctx, key)
}

// audited is the catalogue of the store, with an additional check of the bucket before each deletion.
type audited struct {
	*store.Store
	target uploader.Target
}

func (a audited) AddPlan(ctx context.Context, p *catalogue.Plan) error {
	report(phasePlan)
	defer report(phaseOther)
	return a.Store.AddPlan(ctx, p)
}

func (a audited) MarkVerified(ctx context.Context, p *catalogue.Plan) error {
	report(phaseMark)
	defer report(phaseOther)
	return a.Store.MarkVerified(ctx, p)
}

// unverifiedFile is created if an event that is not in the bucket would have been deleted.
const unverifiedFile = "unverified"

// DeleteBlocks first reads the object and compares every line with the local event that is about to be deleted.
func (a audited) DeleteBlocks(ctx context.Context, p *catalogue.Plan) error {
	if err := a.audit(ctx, p); err != nil {
		text := fmt.Sprintf("%s: %v\n", p.Key, err)
		_ = os.WriteFile(filepath.Join(os.Getenv(auditEnv), unverifiedFile), []byte(text), 0o600)
		fmt.Fprint(os.Stderr, "about to delete events that are not in the bucket: ", text)
		os.Exit(3)
	}
	report(phaseDelete)
	defer report(phaseOther)
	return a.Store.DeleteBlocks(ctx, p)
}

// auditEnv names the directory for unverifiedFile.
const auditEnv = "WAYSIDE_PROOF_AUDIT"

func (a audited) audit(ctx context.Context, p *catalogue.Plan) error {
	local := map[uint64]uploader.Line{}
	err := a.Events(ctx, p, func(seq uint64, row *catalogue.RowName, e *event.Event) error {
		local[seq] = uploader.Line{Path: string(e.Path), Template: strings.Clone(row.Label), Status: int(e.Status), Duration: e.DurationMicros, Client: string(e.Client)}
		return nil
	})
	if err != nil && errors.Is(err, store.ErrDamaged) {
		local = nil // an earlier process has deleted some of the blocks, after the same audit
	} else if err != nil {
		return err
	}
	lines := uint64(0)
	_, err = uploader.ScanEvents(ctx, a.target, p.Key, func(text []byte, _ *uploader.Line) error {
		lines++
		var l uploader.Line
		if err := json.NewDecoder(bytes.NewReader(text)).Decode(&l); err != nil {
			return err
		}
		w, found := local[l.Seq]
		if local != nil && (!found || l.Path != w.Path || l.Template != w.Template || l.Status != w.Status || l.Duration != w.Duration || l.Client != w.Client) {
			return fmt.Errorf("line %d is %s, but locally it is %+v", l.Seq, text, w)
		}
		delete(local, l.Seq)
		return nil
	})
	switch {
	case err != nil:
		return err
	case lines != p.Lines:
		return fmt.Errorf("%d lines, but the plan has %d", lines, p.Lines)
	case len(local) > 0:
		return fmt.Errorf("%d events are missing", len(local))
	}
	return nil
}
