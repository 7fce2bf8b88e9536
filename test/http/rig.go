package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/procfs"
	"github.com/wayside-proxy/wayside/uploader"
)

// rig is a real wayside with its own directory, which also contains the archive.
type rig struct {
	dir     string
	binary  string // built once
	env     []string
	args    []string
	uid     uint32 // the user that wayside runs as, if this process is root; 0 for the user of this process
	log     io.Writer
	http2   *http2Clients // nil if the clients speak HTTP/1.1
	wayside *e2e.Wayside
}

// start starts wayside in front of an origin. If upstream is empty, the upstream comes from the configuration file.
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
	listen, err := loopback.FreeAddress()
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

// stop stops wayside if it is running.
func (r *rig) stop() error {
	if r.wayside == nil {
		return nil
	}
	err := r.wayside.Stop(40 * time.Second)
	r.wayside = nil
	return err
}

// books waits until the books have settled, archives everything and reads the archive.
func (r *rig) books(ctx context.Context, each func(e2e.Line)) (*e2e.Books, e2e.Accounting, error) {
	settle, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if _, err := r.wayside.AwaitSettled(settle); err != nil {
		return nil, e2e.Accounting{}, err
	}
	if _, err := r.wayside.Ask(settle, http.MethodPost, "/-/job/archive?all=true"); err != nil {
		return nil, e2e.Accounting{}, err
	}
	accounting, err := r.wayside.AwaitSettled(settle)
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

// residentBytes returns the resident memory of a process in bytes.
func residentBytes(pid int) (int64, error) {
	n, err := procfs.Status(pid, "VmRSS:")
	return int64(n), err
}

// peak samples the memory of a process until stop is called. stop returns the maximum.
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
