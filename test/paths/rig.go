package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

// rig is an origin and a real wayside in front of it, whose memory is sampled from the start.
type rig struct {
	dir      string
	o        options
	binary   string
	upstream string
	began    time.Time // time at which wayside was started
	w        *e2e.Wayside
	memory   *watch
	stop     func() // ends everything
}

// startRig starts both the origin and wayside. The data directory is dir/data, which may already exist.
func startRig(ctx context.Context, dir string, o options) (*rig, error) {
	origin, stopOrigin, err := startOrigin()
	if err != nil {
		return nil, err
	}
	r := &rig{dir: dir, o: o, upstream: "http://" + origin}
	if r.binary, err = e2e.Build(ctx, dir); err == nil {
		r.began = time.Now()
		r.w, err = r.start(ctx, filepath.Join(dir, "data"), filepath.Join(dir, "archive"))
	}
	if err != nil {
		stopOrigin()
		return nil, err
	}
	r.memory = watchMemory(ctx, map[string]func() int{"traffic": r.w.PID, "books": r.w.BooksPID})
	r.stop = func() {
		r.memory.stop()
		_ = r.w.Stop(time.Minute)
		stopOrigin()
	}
	return r, nil
}

// start starts a wayside on a data directory.
func (r *rig) start(ctx context.Context, data, archive string) (*e2e.Wayside, error) {
	listen, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	w := &e2e.Wayside{
		Binary: r.binary, DataDir: data, Listen: listen, Log: r.o.log,
		Args: []string{"--upstream", r.upstream, "--archive", "file://" + archive},
	}
	return w, w.Start(ctx)
}

// rebuild archives everything, rebuilds the statistics from the archived events in another data directory, and reads the table there.
// During the rebuild, path templates are learned again from the labels in the archive.
func (r *rig) rebuild(ctx context.Context, sent uint64) (table, error) {
	if err := r.w.Stop(time.Minute); err != nil { // this archives everything
		return table{}, err
	}
	into := filepath.Join(r.dir, "rebuilt")
	cmd := exec.CommandContext(ctx, r.binary, "archive", "rebuild", "--archive", "file://"+filepath.Join(r.dir, "archive"),
		"--origin", "events", "--into", into)
	if out, err := cmd.CombinedOutput(); err != nil {
		return table{}, fmt.Errorf("archive rebuild: %w: %s", err, bytes.TrimSpace(out))
	}
	rebuilt, err := r.start(ctx, into, filepath.Join(r.dir, "archive2"))
	if err != nil {
		return table{}, err
	}
	defer func() { _ = rebuilt.Stop(time.Minute) }()
	return readTable(ctx, rebuilt, sent)
}
