package e2e

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
)

// StackOptions configures a Stack.
type StackOptions struct {
	Dir    string // working directory for data, binary and files of the servers; required
	Binary string // an existing binary; empty to build one into Dir
	Env    []string
	Args   []string // additional arguments of `wayside run`
	Log    io.Writer
}

// Stack consists of nginx as the origin, wayside in front of it, and an S3 server with wayside's archive.
type Stack struct {
	Origin  *Nginx
	S3      *s3test.Server
	Wayside *Wayside
	Target  uploader.Target // the archive, for reading
}

// StartStack builds and starts everything. Close ends it.
func StartStack(ctx context.Context, o StackOptions) (*Stack, error) {
	s := &Stack{}
	if err := s.start(ctx, o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, o StackOptions) (err error) {
	for _, sub := range []string{"origin", "s3", "data"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, sub), 0o755); err != nil {
			return err
		}
	}
	if o.Binary == "" {
		if o.Binary, err = Build(ctx, o.Dir); err != nil {
			return err
		}
	}
	if s.Origin, err = StartNginx(ctx, filepath.Join(o.Dir, "origin")); err != nil {
		return err
	}
	if s.S3, err = s3test.StartProcess(filepath.Join(o.Dir, "s3")); err != nil {
		return err
	}
	path := true
	s.Target, err = uploader.OpenTarget(ctx, s.S3.URL("books"), uploader.TargetOptions{
		PathStyle: &path, AccessKey: s.S3.AccessKey, SecretKey: s.S3.SecretKey,
	})
	if err != nil {
		return err
	}
	listen, err := loopback.FreeAddress()
	if err != nil {
		return err
	}
	s.Wayside = &Wayside{
		Binary: o.Binary, DataDir: filepath.Join(o.Dir, "data"), Listen: listen,
		Args: append([]string{"--upstream", "http://" + s.Origin.Address, "--archive", s.S3.URL("books")}, o.Args...),
		Env:  append(s.S3.Env(), o.Env...), Log: o.Log,
	}
	return s.Wayside.Start(ctx)
}

// Close ends everything that is still running.
func (s *Stack) Close() {
	if s.Wayside != nil {
		if err := s.Wayside.Stop(40 * time.Second); err != nil && !errors.Is(err, os.ErrProcessDone) && s.Wayside.Log != nil {
			_, _ = io.WriteString(s.Wayside.Log, "e2e: stop wayside: "+err.Error()+"\n")
		}
	}
	if s.Origin != nil {
		s.Origin.Stop()
	}
	if s.S3 != nil {
		s.S3.Stop()
	}
}
