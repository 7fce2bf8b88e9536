package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/uploader"
)

// rig is a real wayside in a directory of its own, with its archive beside it.
type rig struct {
	dir     string
	binary  string // built once
	env     []string
	args    []string
	uid     uint32 // of wayside, where this process is root; 0: as this process
	log     io.Writer
	wayside *e2e.Wayside
}

// start runs wayside in front of an origin; an empty upstream stands in the configuration file.
func (r *rig) start(ctx context.Context, upstream string) error {
	var err error
	if r.binary == "" {
		if r.binary, err = e2e.Build(ctx, r.dir); err != nil {
			return err
		}
	}
	if r.uid != 0 && os.Getuid() == 0 {
		if err := os.Chown(r.dir, int(r.uid), int(r.uid)); err != nil {
			return err
		}
	}
	listen, err := e2e.FreeAddress()
	if err != nil {
		return err
	}
	args := append([]string{"--archive", "file://" + filepath.Join(r.dir, "archive")}, r.args...)
	if upstream != "" {
		args = append(args, "--upstream", upstream)
	}
	r.wayside = &e2e.Wayside{Binary: r.binary, DataDir: filepath.Join(r.dir, "data"), Listen: listen, Args: args, Env: r.env, UID: r.uid, Log: r.log}
	return r.wayside.Start(ctx)
}

// stop ends wayside, if it runs.
func (r *rig) stop() error {
	if r.wayside == nil {
		return nil
	}
	err := r.wayside.Stop(40 * time.Second)
	r.wayside = nil
	return err
}

// books waits for the books to settle, archives everything and reads it back.
func (r *rig) books(ctx context.Context, each func(e2e.Line)) (*e2e.Books, e2e.Accounting, error) {
	settle, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if _, err := r.wayside.Settle(settle); err != nil {
		return nil, e2e.Accounting{}, err
	}
	if _, err := r.wayside.Ask(settle, http.MethodPost, "/-/job/archive?all=true"); err != nil {
		return nil, e2e.Accounting{}, err
	}
	accounting, err := r.wayside.Settle(settle)
	if err != nil {
		return nil, accounting, err
	}
	target, err := r.target(ctx)
	if err != nil {
		return nil, accounting, err
	}
	books, err := e2e.ReadBooksEach(ctx, target, each)
	return books, accounting, err
}

func (r *rig) target(ctx context.Context) (uploader.Target, error) {
	return uploader.OpenTarget(ctx, "file://"+filepath.Join(r.dir, "archive"), uploader.TargetOptions{})
}

// residentBytes is the memory of a process that is in RAM (VmRSS).
func residentBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: no VmRSS", pid)
}

// peak samples a process's memory until stopped, and gives the largest figure.
func peak(pid int) (stop func() int64) {
	done, result := make(chan struct{}), make(chan int64, 1)
	go func() {
		var most int64
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if n, err := residentBytes(pid); err == nil {
				most = max(most, n)
			}
			select {
			case <-done:
				result <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 { close(done); return <-result }
}
