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

// slowLink is a proxy for connections that passes a limited number of bytes per second in each direction, or none while
// it hangs.
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
	due := time.Now() // compensates for pauses that were too long, as happens on a busy machine
	for {
		n, err := src.Read(buf)
		for l.hang.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			return
		}
		if now := time.Now(); now.Sub(due) > time.Second { // there was nothing to send
			due = now
		}
		due = due.Add(time.Second * time.Duration(n) / time.Duration(l.rate))
		time.Sleep(time.Until(due))
	}
}

// TestSlowLink: uploading and reading back take longer than the timeout, but make progress all the time.
func TestSlowLink(t *testing.T) {
	s := s3Server(t)
	items := incompressible(1000, 1000)
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

// bucketAgain returns the same place without the slow link.
func bucketAgain(t *testing.T, p place) Target {
	t.Helper()
	s := s3Server(t)
	target, err := OpenTarget(t.Context(), s.URL("pre fix/"+strings.ReplaceAll(t.Name(), "/", "-")), TargetOptions{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Transport: closing(t)})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// TestLinkThatHangs: a request that stalls ends and counts as a failure, whether the server accepts, answers or sends
// nothing. Afterwards the same plan is finished.
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
	if s := u.Status(); s.Jobs[JobArchive].ConsecutiveFailures != 1 {
		t.Errorf("status is %+v", s.Jobs[JobArchive])
	}
	if n := u.requests.patience.Load(); n < 2 {
		t.Errorf("the limit does not grow: %d", n)
	}
	link.hang.Store(false)
	for range 20 { // a busy machine may stall for that long
		if _, err = u.ArchiveOnce(t.Context(), true); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	wantArchived(t, p, items)
}

// TestProgress: reading a body counts as progress, and an error without a stall is returned unchanged.
func TestProgress(t *testing.T) {
	u, _ := newTest(t, newMemStore(t), directory(t).Target, func(o *Options) { o.RequestTimeout = time.Hour })
	ctx, s := u.requests.begin(t.Context())
	body := &watchedBody{ReadSeeker: strings.NewReader("content"), request: s, size: 7}
	if text, err := io.ReadAll(body); err != nil || string(text) != "content" {
		t.Fatalf("%q, %v", text, err)
	}
	if err := s.end(io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an error without a stall becomes %v", err)
	}
	if ctx.Err() == nil {
		t.Error("the request's context outlives it")
	}
	s.cancel(errStalled)
	if err := s.end(nil); err != nil {
		t.Errorf("success becomes %v", err)
	}
}
