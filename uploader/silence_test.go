package uploader

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// link is a hop in front of a server at the level of connections, which passes on so many bytes a second in each direction, or
// nothing while it hangs.
type slowLink struct {
	ln   net.Listener
	to   string
	rate int
	hang atomic.Bool
	wait sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func newSlowLink(t *testing.T, endpoint string, rate int) *slowLink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &slowLink{ln: ln, to: strings.TrimPrefix(endpoint, "http://"), rate: rate}
	l.wait.Go(l.serve)
	t.Cleanup(func() {
		_ = ln.Close()
		l.mu.Lock()
		for _, c := range l.conns {
			_ = c.Close()
		}
		l.mu.Unlock()
		l.wait.Wait()
	})
	return l
}

func (l *slowLink) serve() {
	for {
		near, err := l.ln.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		l.wait.Go(func() { l.pass(far, near) })
		l.wait.Go(func() { l.pass(near, far) })
	}
}

func (l *slowLink) pass(dst, src net.Conn) {
	defer func() { _ = dst.Close(); _ = src.Close() }()
	buf := make([]byte, max(l.rate/20, 1))
	due := time.Now() // a pause that was too long, as on a busy machine, is made up for
	for {
		n, err := src.Read(buf)
		for l.hang.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			return
		}
		if now := time.Now(); now.Sub(due) > time.Second { // nothing was to be sent
			due = now
		}
		due = due.Add(time.Second * time.Duration(n) / time.Duration(l.rate))
		time.Sleep(time.Until(due))
	}
}

// TestSlowLink: an upload that takes longer than the limit, and so does reading it back, and that goes on all the while.
func TestSlowLink(t *testing.T) {
	s := s3Server(t)
	items := incompressible(1000, 1500)
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 500, items...)
	p := bucketOf(t, s, "http://"+newSlowLink(t, s.Endpoint, 100<<10).ln.Addr().String())
	u, _ := newTest(t, m, p, func(o *Options) { o.ObjectBytes, o.RequestTimeout = 8<<20, 3*time.Second })
	r, err := u.ArchiveOnce(t.Context(), true)
	if err != nil || r.Rows != 1000 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r.Bytes < 600<<10 {
		t.Fatalf("the object has only %d bytes, which is not long on the way", r.Bytes)
	}
	wantArchived(t, bucketAgain(t, p), items)
}

// bucketAgain is the same place without anything between.
func bucketAgain(t *testing.T, p place) Target {
	t.Helper()
	s := s3Server(t)
	target, err := OpenTarget(t.Context(), s.URL("pre fix/"+strings.ReplaceAll(t.Name(), "/", "-")), TargetOptions{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Transport: closing(t)})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// TestLinkThatHangs: silence ends a request, whether nothing is taken, nothing answered or nothing sent, and counts as a failure;
// afterwards the same plan is finished.
func TestLinkThatHangs(t *testing.T) {
	s := s3Server(t)
	link := newSlowLink(t, s.Endpoint, 64<<20)
	p := bucketOf(t, s, "http://"+link.ln.Addr().String())
	m := newMemStore(t)
	items := plainEvents(100, testHour, 1)
	m.apply(testEpoch, testHour, 500, items...)
	u, _ := newTest(t, m, p, func(o *Options) { o.RequestTimeout = 300 * time.Millisecond })
	link.hang.Store(true)
	_, err := u.ArchiveOnce(t.Context(), true)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no progress") {
		t.Fatalf("error is %v", err)
	}
	if s := u.Status(); s.Archive.ConsecutiveFailures != 1 {
		t.Errorf("status is %+v", s.Archive)
	}
	if n := u.patience.Load(); n < 2 {
		t.Errorf("the limit does not grow: %d", n)
	}
	link.hang.Store(false)
	for range 20 { // a busy machine may be silent for as long
		if _, err = u.ArchiveOnce(t.Context(), true); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	wantArchived(t, p, items)
}

// TestSilence: what counts as progress.
func TestSilence(t *testing.T) {
	u, _ := newTest(t, newMemStore(t), directory(t).Target, func(o *Options) { o.RequestTimeout = time.Hour })
	ctx, s := u.attend(t.Context())
	body := &watchedBody{ReadSeeker: strings.NewReader("content"), s: s, size: 7}
	if text, err := io.ReadAll(body); err != nil || string(text) != "content" {
		t.Fatalf("%q, %v", text, err)
	}
	if err := s.end(io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an error without a silence becomes %v", err)
	}
	if ctx.Err() == nil {
		t.Error("the request's context outlives it")
	}
	s.cancel(errSilent)
	if err := s.end(nil); err != nil {
		t.Errorf("success becomes %v", err)
	}
}
