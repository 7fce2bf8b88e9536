package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/test/procfs"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// Bounds of the volume proof.
const (
	savedMin      = 0.85     // minimum share of the raw bytes that is saved
	megabytesMin  = 100      // minimum rate: MB of raw NDJSON per second of CPU time
	memoryMax     = 16 << 20 // maximum additional memory of the process, independent of the size
	volumeObjects = 8 << 20  // archive.object_bytes
)

// generated is a source of generated events. It does not store the events of a plan, but generates them again each time they are needed.
type generated struct {
	m     maker
	plans []*catalogue.Plan
	state map[uint64]catalogue.State
	spent time.Duration // CPU time for generating events
}

// volumeBatch is the number of events that are generated at a time.
const volumeBatch = 1000

func (v *generated) Pending(context.Context, time.Time) ([]catalogue.Pending, error) { return nil, nil }

func (v *generated) Events(ctx context.Context, p *catalogue.Plan, fn func(uint64, *catalogue.RowName, *event.Event) error) error {
	var name catalogue.RowName
	for first := p.Runs[0].First; first <= p.Runs[0].Last; first += volumeBatch {
		if err := ctx.Err(); err != nil {
			return err
		}
		before := cpu()
		b := v.m.batch(first, int(min(volumeBatch, p.Runs[0].Last-first+1)), time.Unix(p.Hour*3600, 0).Add(time.Duration(first-p.Runs[0].First)*time.Millisecond))
		v.spent += cpu() - before
		for i := range b.Items {
			it := &b.Items[i]
			name = catalogue.RowName{Host: it.Host, Method: it.Method, Label: it.Label}
			if err := fn(it.Seq, &name, &it.Event); err != nil {
				return err
			}
		}
	}
	return nil
}

// alone generates the events of a few plans, and returns the maximum memory use of this process without archiving. The additional memory
// for archiving is measured relative to this.
func (v *generated) alone(ctx context.Context) (int64, error) {
	peak := newPeak()
	for _, p := range v.plans[:min(3, len(v.plans))] {
		if err := v.Events(ctx, p, func(uint64, *catalogue.RowName, *event.Event) error { return nil }); err != nil {
			return 0, err
		}
	}
	v.spent = 0
	return peak.end(), nil
}

func (v *generated) AddPlan(context.Context, *catalogue.Plan) error { return nil }
func (v *generated) Checkpoint() error                              { return nil }

func (v *generated) PlansIn(_ context.Context, state catalogue.State, fn func(*catalogue.Plan) error) error {
	for _, p := range v.plans {
		if v.state[p.ID] != state {
			continue
		}
		if err := fn(p); err != nil {
			return err
		}
	}
	return nil
}

func (v *generated) MarkVerified(_ context.Context, p *catalogue.Plan) error {
	v.state[p.ID] = catalogue.Verified
	return nil
}

func (v *generated) DeleteBlocks(context.Context, *catalogue.Plan) error {
	return errors.New("not asked for")
}

func (v *generated) MarkExpired(context.Context, *catalogue.Plan) error {
	return errors.New("not asked for")
}

func (v *generated) Unreconciled(uuid.UUID) (unreconciled, imported bool) { return false, false }

func (v *generated) ImportObject(context.Context, *catalogue.Plan) error {
	return errors.New("not asked for")
}

func (v *generated) MarkImported(uuid.UUID) error { return errors.New("not asked for") }

// cpu returns the CPU time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// booksGCPercent is the GC percentage that the books process uses.
const booksGCPercent = 50

// proveVolume archives many events and measures bytes, speed and memory. Then it runs gzip -6 on the same NDJSON.
func proveVolume(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	events := flags.Uint64("events", 10_000_000, "events to archive")
	local := flags.Bool("local", false, "archive into a directory instead of a real S3 server")
	_ = flags.Parse(args)
	debug.SetGCPercent(booksGCPercent)
	dir, err := os.MkdirTemp("", "wayside-volume-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	open := func(name string) (uploader.Target, error) {
		return uploader.OpenTarget(ctx, filepath.Join(dir, name), uploader.TargetOptions{})
	}
	where := "a directory"
	if !*local {
		server, err := s3test.StartProcess(filepath.Join(dir, "s3"))
		if err != nil {
			return "", err
		}
		defer server.Stop()
		where = "versitygw"
		open = func(name string) (uploader.Target, error) {
			return uploader.OpenTarget(ctx, server.URL(name), uploader.TargetOptions{AccessKey: server.AccessKey, SecretKey: server.SecretKey})
		}
	}
	target, err := open("plain")
	if err != nil {
		return "", err
	}
	all, failed := measureVolume(ctx, target, *events, false)
	if failed != nil && all.lines == 0 {
		return "", failed
	}
	beside, err := gzip6(ctx, target, all)
	if err != nil {
		return all.String(), err
	}
	if target, err = open("traced"); err != nil {
		return "", err
	}
	traced, err := measureVolume(ctx, target, *events/10, true) // only to measure the bytes
	return fmt.Sprintf("into %s: %s. %s. With trace_id: %s", where, all, beside, traced), errors.Join(failed, err)
}

// volume contains the measurements of archiving.
type volume struct {
	lines, raw, compressed uint64
	objects                int
	perSecond              float64 // MB of NDJSON per second of CPU time
	added, anonymous       int64   // bytes of anonymous memory: the part added by archiving, and the total
	whole                  int64   // maximum resident set, including mapped files
}

func (v volume) saved() float64 { return 1 - float64(v.compressed)/float64(v.raw) }

func (v volume) String() string {
	const mib = 1 << 20
	return fmt.Sprintf("%d events, %d bytes of NDJSON, %d compressed (%.1f %% saved, %.1f B an event), %d objects, "+
		"%.0f MB/s of raw NDJSON per core (format, fold, hash, compress, write, read back, unpack, hash), memory at most %.1f MiB more than the "+
		"same process needs to generate the events (all its anonymous memory %.1f MiB, resident with mapped pages of the binary %.1f MiB)",
		v.lines, v.raw, v.compressed, 100*v.saved(), float64(v.compressed)/float64(v.lines), v.objects, v.perSecond,
		float64(v.added)/mib, float64(v.anonymous)/mib, float64(v.whole)/mib)
}

func measureVolume(ctx context.Context, target uploader.Target, events uint64, traceIDs bool) (volume, error) {
	v := volumePlans(events, traceIDs)
	u, err := uploader.New(uploader.Options{Source: v, Catalogue: v, Target: target, ObjectBytes: volumeObjects, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return volume{}, err
	}
	before, err := v.alone(ctx)
	if err != nil {
		return volume{}, err
	}
	peak := newPeak()
	began := cpu()
	r, err := u.ArchiveOnce(ctx, true)
	took := cpu() - began - v.spent
	most := peak.end()
	if err != nil {
		return volume{}, err
	}
	found := volume{
		lines: r.Lines, raw: r.RawBytes, compressed: r.Bytes, objects: r.Objects, perSecond: float64(r.RawBytes) / 1e6 / took.Seconds(),
		added: most - before, anonymous: most, whole: ownStatus("VmHWM:"),
	}
	switch {
	case r.Lines != events:
		err = fmt.Errorf("%d lines, but %d events", r.Lines, events)
	case found.saved() < savedMin:
		err = fmt.Errorf("only %.1f %% saved", 100*found.saved())
	case found.perSecond < megabytesMin:
		err = fmt.Errorf("only %.0f MB/s", found.perSecond)
	case found.added > memoryMax:
		err = fmt.Errorf("%d bytes of additional memory", found.added)
	}
	return found, err
}

// volumePlans creates plans of about 8 MiB.
func volumePlans(events uint64, traceIDs bool) *generated {
	v := &generated{m: maker{seed: 10, traceIDs: traceIDs, perEvent: 100 * time.Microsecond}, state: map[uint64]catalogue.State{}}
	var fields []string
	if traceIDs {
		fields = []string{uploader.FieldTraceID}
	}
	const perPlan = 170_000
	hour := monday.Unix() / 3600
	for first := uint64(1); first <= events; first += perPlan {
		last := min(first+perPlan-1, events)
		id := uint64(len(v.plans)) + 1
		key := fmt.Sprintf("%swayside_0_%s_%d-%d.ndjson.gz", uploader.HourPrefix(hour), epoch, first, last)
		v.plans = append(v.plans, &catalogue.Plan{
			ID: id, State: catalogue.Planned, Hour: hour, Epoch: epoch, Key: key, StatsKey: uploader.StatsKey(key), Fields: fields,
			Runs: []catalogue.Run{{First: first, Last: last}}, Rows: last - first + 1, Lines: last - first + 1,
			FormatVersion: uploader.FormatVersion, Service: "wayside", Instance: "0",
		})
		v.state[id] = catalogue.Planned
	}
	return v
}

// gzip6 runs gzip -6 on the NDJSON of all objects together.
func gzip6(ctx context.Context, target uploader.Target, v volume) (string, error) {
	cmd := exec.CommandContext(ctx, "gzip", "-6", "-c")
	out := &countWriter{}
	cmd.Stdout = out
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("gzip: %w", err)
	}
	raw := &countWriter{}
	lines := bufio.NewWriterSize(io.MultiWriter(in, raw), 1<<20)
	err = reader.List(ctx, target, reader.Range{}, func(o uploader.Object) error {
		_, err := uploader.ScanEvents(ctx, target, o.Key, func(line []byte, _ *uploader.Line) error {
			_, _ = lines.Write(line) // the writer keeps its error
			return lines.WriteByte('\n')
		})
		return err
	})
	if err := errors.Join(err, lines.Flush(), in.Close(), cmd.Wait()); err != nil {
		return "", fmt.Errorf("gzip: %w", err)
	}
	if uint64(raw.n) != v.raw {
		return "", fmt.Errorf("%d bytes of NDJSON were read back, but %d were archived", raw.n, v.raw)
	}
	took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return fmt.Sprintf("gzip -6 of all of this NDJSON in one piece: %d bytes (%.1f %% saved, %.1f B an event; wayside %d), %.0f MB/s per core for compressing alone",
		out.n, 100*(1-float64(out.n)/float64(v.raw)), float64(out.n)/float64(v.lines), v.compressed, float64(v.raw)/1e6/took.Seconds()), nil
}

type countWriter struct{ n int64 }

func (c *countWriter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

var _ io.Writer = (*countWriter)(nil)

// peak samples the anonymous memory of this process.
type peak struct {
	quit chan struct{}
	most chan int64
}

func newPeak() *peak {
	p := &peak{quit: make(chan struct{}), most: make(chan int64)}
	go func() {
		most := anonymous()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, anonymous())
			case <-p.quit:
				p.most <- most
				return
			}
		}
	}()
	return p
}

func (p *peak) end() int64 {
	close(p.quit)
	return <-p.most
}

// anonymous returns the anonymous memory of this process in bytes: Go's heap, stacks and mapped buffers, but no pages
// of files.
func anonymous() int64 { return ownStatus("RssAnon:") }

// ownStatus reads a field of /proc/self/status, and returns its value in bytes.
func ownStatus(field string) int64 {
	n, _ := procfs.Status(os.Getpid(), field)
	return int64(n)
}
