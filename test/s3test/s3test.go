// Package s3test runs a real S3 server, versitygw, for tests and for the end-to-end harness.
//
// The server's version is pinned in tools/go.mod. The server is built once into the user's cache directory, under a name with a hash of
// everything on which the binary depends, and all tests on the machine use the same binary. The server stores each bucket as a directory
// of plain files, so a test can damage objects without using the server (see [Server.ObjectPath]).
package s3test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/test/loopback"
)

// readyTimeout is the maximum time for starting the server. Only a failure takes that long.
const readyTimeout = 30 * time.Second

// Server is a running S3 server with one bucket.
type Server struct {
	Endpoint  string // "http://127.0.0.1:PORT"
	Bucket    string
	AccessKey string
	SecretKey string
	Region    string

	dir     string // contains data/BUCKET and the log
	address string
	process *process // nil while stopped
}

// Start runs a server with an empty bucket for the duration of a test. It skips the test, with the reason, if the server
// cannot be built. The first build needs the Go module proxy.
func Start(tb testing.TB) *Server {
	tb.Helper()
	if _, err := Binary(); err != nil {
		tb.Skipf("SKIPPED, there is no S3 server: %v", err)
	}
	s, err := StartProcess(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.Stop()
		if tb.Failed() {
			tb.Logf("end of the S3 server's log:\n%s", s.Log(2000))
		}
	})
	return s
}

// StartProcess runs a server with its files below dir, creates the bucket if it is missing, and returns when the server responds to
// requests. The caller must stop the server with Stop. The server also ends when the process that started it ends.
func StartProcess(dir string) (*Server, error) {
	s := &Server{Bucket: "wayside-test", AccessKey: "wayside-test-key", SecretKey: "wayside-test-secret", Region: "us-east-1", dir: dir}
	var err error
	if s.address, err = loopback.FreeAddress(); err != nil {
		return nil, err
	}
	if err = s.Restart(); err != nil {
		return nil, err
	}
	return s, nil
}

// Restart restarts a stopped server with the same address and files.
func (s *Server) Restart() error {
	bin, err := Binary()
	if err != nil {
		return err
	}
	s.Endpoint = "http://" + s.address
	args, err := s.arguments()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of the S3 server: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = startProcess(cmd); err != nil {
		return fmt.Errorf("start the S3 server: %w", err)
	}
	if err := s.ready(); err != nil {
		s.Stop()
		return fmt.Errorf("%w; end of its log:\n%s", err, s.Log(2000))
	}
	return nil
}

// arguments returns the server's command line. Metadata is kept in extended attributes if the filesystem supports them, and otherwise in
// separate files.
func (s *Server) arguments() ([]string, error) {
	data, sidecar := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "metadata")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("create the S3 server's folder: %w", err)
	}
	args := []string{"--port", s.address, "--region", s.Region, "--quiet", "posix"}
	if unix.Setxattr(data, "user.wayside-test", []byte("x"), 0) != nil {
		if err := os.MkdirAll(sidecar, 0o700); err != nil {
			return nil, fmt.Errorf("create the S3 server's folder: %w", err)
		}
		args = append(args, "--sidecar", sidecar)
	}
	return append(args, data), nil
}

// Stop kills the server and waits until it has ended. It does nothing if the server is stopped.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
}

// Another creates another bucket on the same server. Only the first Server can stop and restart it.
func (s *Server) Another(bucket string) (*Server, error) {
	other := *s
	other.Bucket = bucket
	return &other, other.ready()
}

// URL returns the archive URL of the bucket with a prefix.
func (s *Server) URL(prefix string) string {
	return "s3://" + s.Bucket + "/" + strings.Trim(prefix, "/") + "?endpoint=" + s.Endpoint + "&region=" + s.Region + "&path_style=true"
}

// Env returns the credentials as environment variables for another process.
func (s *Server) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey}
}

// ObjectPath returns the path of the file with the bytes of an object. key includes the prefix.
func (s *Server) ObjectPath(key string) string {
	return filepath.Join(s.dir, "data", s.Bucket, filepath.FromSlash(key))
}

// Log returns the last bytes of the server's log.
func (s *Server) Log(last int) string {
	text, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-last):])
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "s3server.log") }

// ready creates the bucket. It tries again until the server responds or has ended.
func (s *Server) ready() error {
	client, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: s.Region, BucketLookup: minio.BucketLookupPath,
		Transport: &http.Transport{DisableKeepAlives: true}, MaxRetries: 1,
	})
	if err != nil {
		return fmt.Errorf("connect to the S3 server: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	for {
		err := client.MakeBucket(ctx, s.Bucket, minio.MakeBucketOptions{Region: s.Region})
		switch code := minio.ToErrorResponse(err).Code; {
		case err == nil, code == "BucketAlreadyOwnedByYou", code == "BucketAlreadyExists":
			return nil
		case code != "" && !errors.Is(err, io.EOF) && minio.ToErrorResponse(err).StatusCode != 0:
			return fmt.Errorf("create the bucket on the S3 server: %w", err)
		}
		// The server does not report when it is listening, so ready retries.
		select {
		case <-s.process.done:
			return errors.New("the S3 server ended right after its start")
		case <-ctx.Done():
			return fmt.Errorf("the S3 server did not answer in %s: %w", readyTimeout, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// process is a child that dies with this process.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended
	once sync.Once
}

// startProcess starts cmd from a thread that lives as long as the child, because on Linux, the child gets its parent-death signal when
// the thread that created it ends.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	dieWithParent(cmd)
	started := make(chan error)
	go p.own(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) kill() {
	p.once.Do(func() {
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			slog.Warn("kill the S3 server", "error", err)
		}
	})
	<-p.done
}
