package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
)

// rig contains everything that one run needs.
type rig struct {
	dir        string
	log        io.WriteCloser
	group      *e2e.MemoryGroup
	origin     *child
	s3         *s3test.Server // nil if the archive is a directory
	archive    uploader.Target
	archiveURL string
	wayside    *e2e.Wayside
	probes     string
	books      int // process ID at the start
}

func newRig(ctx context.Context, o options, dir string, s3 bool) (*rig, error) {
	r := &rig{dir: dir}
	if err := r.start(ctx, o, s3); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rig) start(ctx context.Context, o options, s3 bool) (err error) {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	if r.log, err = o.logTo(r.dir); err != nil {
		return err
	}
	if r.group, err = e2e.NewMemoryGroup(fmt.Sprintf("wayside-hostile-%d-%d", os.Getpid(), time.Now().UnixNano()), false); err != nil {
		return err
	}
	if err := r.group.Limit(o.memory << 20); err != nil {
		return err
	}
	if err := r.group.CountSockets(); err != nil {
		return err
	}
	origin, upstream, err := startOrigin()
	if err != nil {
		return err
	}
	r.origin = origin
	if r.probes, err = loopback.FreeAddress(); err != nil {
		return err
	}
	r.wayside = &e2e.Wayside{
		DataDir: filepath.Join(r.dir, "data"), Log: r.log, Args: []string{"--upstream", "http://" + upstream},
		Env: []string{"WAYSIDE_ADMIN_PROBES=" + r.probes},
	}
	if r.wayside.Listen, err = loopback.FreeAddress(); err != nil {
		return err
	}
	if err := r.openArchive(ctx, s3); err != nil {
		return err
	}
	if r.wayside.Binary, err = r.wrapper(o); err != nil {
		return err
	}
	if err := r.wayside.Start(ctx); err != nil {
		return err
	}
	return r.awaitBooks(ctx)
}

func (r *rig) openArchive(ctx context.Context, s3 bool) (err error) {
	if !s3 {
		r.archiveURL = "file://" + filepath.Join(r.wayside.DataDir, "archive")
		r.archive, err = uploader.OpenTarget(ctx, r.archiveURL, uploader.TargetOptions{})
		return err
	}
	if r.s3, err = s3test.StartProcess(filepath.Join(r.dir, "s3")); err != nil {
		return err
	}
	path := true
	r.archiveURL = r.s3.URL("books")
	r.archive, err = uploader.OpenTarget(ctx, r.archiveURL, uploader.TargetOptions{PathStyle: &path, AccessKey: r.s3.AccessKey, SecretKey: r.s3.SecretKey})
	r.wayside.Args = append(r.wayside.Args, "--archive", r.archiveURL)
	r.wayside.Env = append(append(r.wayside.Env, r.s3.Env()...), "WAYSIDE_ARCHIVE_AFTER=1s", "WAYSIDE_ARCHIVE_SCHEDULE=@every 2s")
	return err
}

// wrapper writes a script that sets the limits for itself and then executes wayside, so both processes have these limits from their first
// instruction.
func (r *rig) wrapper(o options) (string, error) {
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return "", err
	}
	name := filepath.Join(r.dir, "limited")
	text := fmt.Sprintf("#!/bin/sh\necho $$ > %s/cgroup.procs && ulimit -n %d && exec %s \"$@\"\n", r.group.Dir, o.files, binary)
	return name, e2e.WriteExecutable(name, []byte(text))
}

// awaitBooks waits until the books process responds.
func (r *rig) awaitBooks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e2e.ReadyTimeout)
	defer cancel()
	for {
		_, err := r.wayside.Ask(ctx, http.MethodGet, "/api/v1/storage")
		if r.books = r.wayside.BooksPID(); err == nil && r.books != 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the books process does not answer: %w", errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *rig) admin() string { return strings.TrimPrefix(r.wayside.Info().Admin, "http://") }

// target returns the configuration for the attacking process.
func (r *rig) target(o options, run run) target {
	return target{Traffic: r.wayside.Listen, Probes: r.probes, Admin: r.admin(), Books: r.books, Seconds: o.seconds, Attacks: run.names()}
}

// close stops everything that is still running.
func (r *rig) close() {
	if r.wayside != nil && r.wayside.Running() {
		_ = r.wayside.Stop(40 * time.Second)
	}
	if r.origin != nil {
		_ = r.origin.stop()
	}
	if r.s3 != nil {
		r.s3.Stop()
	}
	if r.group != nil {
		r.group.Remove()
	}
	if r.log != nil {
		_ = r.log.Close()
	}
}
