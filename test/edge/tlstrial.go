package main

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/uploader"
)

// tlsTrial is a wayside that has not been started, with its own certificate authority and folder. Its configuration is the file edge.yaml
// in that folder, its name edge.test.
type tlsTrial struct {
	dir string
	ca  *certtest.CA
	w   *e2e.Wayside
	tls *tls.Config // for clients

	mu    sync.Mutex
	first error // the first error; guarded by mu
}

// newTLSTrial prepares a trial. Even after an error, end must be called.
func newTLSTrial(ctx context.Context) (t *tlsTrial, err error) {
	t = &tlsTrial{}
	if t.dir, err = os.MkdirTemp("", "wayside-edge-"); err != nil {
		return t, err
	}
	if t.ca, err = certtest.Authority("edge"); err != nil {
		return t, err
	}
	t.tls = &tls.Config{RootCAs: t.ca.Pool(), ServerName: "edge.test"}
	t.w = &e2e.Wayside{
		DataDir: filepath.Join(t.dir, "data"),
		Args:    []string{"--config", filepath.Join(t.dir, "edge.yaml"), "--archive", "file://" + filepath.Join(t.dir, "archive")},
	}
	if t.w.Binary, err = e2e.Build(ctx, t.dir); err != nil {
		return t, err
	}
	if t.w.Listen, err = loopback.FreeAddress(); err != nil {
		return t, err
	}
	t.w.Log, err = os.Create(filepath.Join(t.dir, "log"))
	return t, err
}

// end kills wayside if it is running, and removes the folder.
func (t *tlsTrial) end() {
	if t.w != nil && t.w.Running() {
		t.w.Kill()
	}
	_ = os.RemoveAll(t.dir)
}

// note keeps the first error.
func (t *tlsTrial) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first == nil {
		t.first = err
	}
}

// eachEvent stops wayside and calls fn with each event in its archive.
func (t *tlsTrial) eachEvent(ctx context.Context, fn func(e2e.Line)) error {
	if err := t.w.Stop(2 * time.Minute); err != nil {
		return err
	}
	target, err := uploader.OpenTarget(ctx, "file://"+filepath.Join(t.dir, "archive"), uploader.TargetOptions{})
	if err != nil {
		return err
	}
	_, err = e2e.ReadBooksEach(ctx, target, fn)
	return err
}
