package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/wayside-proxy/wayside/test/s3test"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if sharedServer != nil {
		sharedServer.Stop()
		_ = os.RemoveAll(sharedDir)
	}
	if fakeServer != nil {
		fakeServer.Stop()
		_ = os.RemoveAll(fakeDir)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines are left:", err)
		code = 1
	}
	os.Exit(code)
}

// The S3 server is started only once, and each test gets its own prefix.
var (
	serverOnce   sync.Once
	sharedServer *s3test.Server
	sharedDir    string
	errServer    error
)

func s3Server(t *testing.T) *s3test.Server {
	t.Helper()
	if _, err := s3test.Binary(); err != nil {
		t.Skipf("SKIPPED, no S3 server to test against: %v", err)
	}
	serverOnce.Do(func() {
		if sharedDir, errServer = os.MkdirTemp("", "wayside-s3-*"); errServer == nil { //nolint:usetesting // outlives the first test
			sharedServer, errServer = s3test.StartProcess(sharedDir)
		}
	})
	if errServer != nil {
		t.Fatal(errServer)
	}
	return sharedServer
}

// place is a target under test, and ways to look at it.
type place struct {
	Target
	requests *requestLog         // nil for a directory
	file     func(string) string // path of an object on disk
}

// forEachTarget runs the test on a directory and on a real S3 server.
func forEachTarget(t *testing.T, test func(t *testing.T, p place)) {
	t.Helper()
	t.Run("directory", func(t *testing.T) { test(t, directory(t)) })
	t.Run("versitygw", func(t *testing.T) { test(t, bucket(t)) })
}

// forEveryTarget runs the test on a directory, on two S3 servers, and through the proxy with which other tests inject
// faults.
func forEveryTarget(t *testing.T, test func(t *testing.T, p place)) {
	t.Helper()
	forEachTarget(t, test)
	t.Run("gofakes3", func(t *testing.T) { test(t, fakeBucket(t)) })
	t.Run("hop", func(t *testing.T) { p, _ := hostileBucket(t); test(t, p) })
}

// The second S3 server is also started only once.
var (
	fakeOnce   sync.Once
	fakeServer *s3test.Server
	fakeDir    string
	errFake    error
)

func fakeBucket(t *testing.T) place {
	t.Helper()
	if _, err := s3test.FakeBinary(); err != nil {
		t.Skipf("SKIPPED, gofakes3 cannot be built: %v", err)
	}
	fakeOnce.Do(func() {
		if fakeDir, errFake = os.MkdirTemp("", "wayside-fake-*"); errFake == nil { //nolint:usetesting // outlives the first test
			fakeServer, errFake = s3test.StartFake(fakeDir)
		}
	})
	if errFake != nil {
		t.Fatal(errFake)
	}
	return bucketOf(t, fakeServer, fakeServer.Endpoint)
}

// closing is a transport whose connections end with the test.
func closing(t *testing.T) http.RoundTripper {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func directory(t *testing.T) place {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "made", "on demand")
	target, err := OpenTarget(context.Background(), "file://"+dir, TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return place{Target: target, file: func(key string) string { return filepath.Join(dir, filepath.FromSlash(key)) }}
}

func bucket(t *testing.T) place {
	t.Helper()
	s := s3Server(t)
	return bucketOf(t, s, s.Endpoint)
}

// bucketOf returns a prefix in a server's bucket, reached through an endpoint.
func bucketOf(t *testing.T, s *s3test.Server, endpoint string) place {
	t.Helper()
	log := &requestLog{next: closing(t)}
	prefix := "pre fix/" + strings.ReplaceAll(t.Name(), "/", "-")
	target, err := OpenTarget(context.Background(), strings.Replace(s.URL(prefix), s.Endpoint, endpoint, 1), TargetOptions{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Transport: log})
	if err != nil {
		t.Fatal(err)
	}
	return place{Target: target, requests: log, file: func(key string) string { return s.ObjectPath(prefix + "/" + key) }}
}

// requestLog counts requests and can answer some of them itself.
type requestLog struct {
	next http.RoundTripper

	mu       sync.Mutex
	requests []string // "METHOD path?query"
	headers  []http.Header
	answer   func(*http.Request) *http.Response // if it or its result is nil, the server is asked
	cut      func(*http.Request) bool           // whether to close the connection without a response
}

func (l *requestLog) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.requests = append(l.requests, r.Method+" "+r.URL.RequestURI())
	l.headers = append(l.headers, r.Header.Clone())
	answer, cut := l.answer, l.cut
	l.mu.Unlock()
	if cut != nil && cut(r) {
		return nil, io.ErrUnexpectedEOF
	}
	if answer != nil {
		if resp := answer(r); resp != nil {
			if r.Body != nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			return resp, nil
		}
	}
	return l.next.RoundTrip(r)
}

// take returns the methods of the requests since the last call, joined.
func (l *requestLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var methods []string
	for _, r := range l.requests {
		method, _, _ := strings.Cut(r, " ")
		methods = append(methods, method)
	}
	l.requests = nil
	return strings.Join(methods, " ")
}

func (l *requestLog) answerWith(fn func(*http.Request) *http.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = fn
}

func s3Error(r *http.Request, status int, code string) *http.Response {
	body := "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>made up</Message></Error>"
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func TestTargetContract(t *testing.T) {
	forEveryTarget(t, func(t *testing.T, p place) {
		t.Helper()
		ctx := context.Background()
		key := "v1/dt=2026-11-23/hour=09/a%5Fb_c_1-2.ndjson.gz"
		meta := map[string]string{MetaRows: "2", MetaRuns: "1-2"}

		if _, err := p.Stat(ctx, key); !errors.Is(err, ErrNotFound) {
			t.Fatalf("stat of nothing: %v", err)
		}
		if _, _, err := p.Get(ctx, key); !errors.Is(err, ErrNotFound) {
			t.Fatalf("get of nothing: %v", err)
		}
		if err := p.List(ctx, "v1/", func(o ObjectInfo) error { t.Errorf("listed %v", o); return nil }); err != nil {
			t.Fatalf("list of nothing: %v", err)
		}
		// Write again with the same bytes, then with others, once with the same length. The last content must win.
		for _, content := range []string{"first", "first", "other", "second, longer"} {
			body := strings.NewReader(content)
			_, _ = body.Seek(3, io.SeekStart) // Put reads from the beginning, whatever the position is
			if err := p.Put(ctx, key, body, int64(len(content)), meta); err != nil {
				t.Fatalf("put %q: %v", content, err)
			}
			wantObject(t, p, key, content, meta)
		}
		changed := map[string]string{MetaRows: "3", MetaRuns: "1-3"}
		if err := p.Put(ctx, key, strings.NewReader("second, longer"), 14, changed); err != nil {
			t.Fatal(err)
		}
		wantObject(t, p, key, "second, longer", changed)

		if err := p.Put(ctx, "v1/dt=2026-11-23/hour=10/short.ndjson.gz", strings.NewReader("abc"), 4, meta); err == nil {
			t.Error("a body shorter than announced is accepted")
		}
		if err := p.Put(ctx, "v1/dt=2026-11-23/hour=10/long.ndjson.gz", strings.NewReader("abcde"), 4, meta); err == nil {
			t.Error("a body longer than announced is accepted")
		}
		second := "v1/dt=2026-11-24/hour=00/x_y_3-3.ndjson.gz"
		if err := p.Put(ctx, second, strings.NewReader("x"), 1, meta); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, p, "v1/", key, second)
		wantKeys(t, p, "v1/dt=2026-11-2", key, second)
		wantKeys(t, p, "v1/dt=2026-11-23/hour=09/a", key)
		wantKeys(t, p, "v2/")
		stop := errors.New("stop")
		if err := p.List(ctx, "v1/", func(ObjectInfo) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("list that is stopped: %v", err)
		}
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err := p.Put(cancelled, second, strings.NewReader("y"), 1, meta); err == nil {
			t.Error("put goes on after its context has ended")
		}
	})
}

func wantObject(t *testing.T, p Target, key, content string, meta map[string]string) {
	t.Helper()
	body, got, err := p.Get(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if cerr := body.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	if string(text) != content || metaDiffers(meta, got) != "" {
		t.Fatalf("object is %q %v, want %q %v", text, got, content, meta)
	}
	info, err := p.Stat(context.Background(), key)
	if err != nil || info.Size != int64(len(content)) || metaDiffers(meta, info.Meta) != "" {
		t.Fatalf("stat is %+v, %v", info, err)
	}
}

func wantKeys(t *testing.T, p Target, prefix string, want ...string) {
	t.Helper()
	var got []string
	if err := p.List(context.Background(), prefix, func(o ObjectInfo) error { got = append(got, o.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("list of %q is %v, want %v", prefix, got, want)
	}
}

func TestOpenTargetRefusesWhatItCannotUse(t *testing.T) {
	for _, url := range []string{
		"", "http://bucket/x", "s3://", "s3:///prefix", "s3://key:secret@bucket/", "s3://bkt?colour=red", "s3://bkt?path_style=perhaps",
		"s3://bkt?endpoint=ftp://x", "s3://bkt?endpoint=http://h/path", "file://host/dir", "file:///dir?x=y", "s3://bkt/x#y", "s3://b", "s3://bkt\x00",
	} {
		_, err := OpenTarget(context.Background(), url, TargetOptions{})
		if !errors.Is(err, ErrTargetURL) {
			t.Errorf("%q: %v", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret@") {
			t.Errorf("%q: the error repeats the secret: %v", url, err)
		}
	}
	for url, want := range map[string]string{
		"file:///var/lib/w": "file:///var/lib/w",
		"/var/lib/w":        "file:///var/lib/w",
		"s3://bkt":          "s3://bkt/",
		"s3://bkt/p/q/":     "s3://bkt/p/q",
		"s3://bkt/p?endpoint=http://127.0.0.1:7&region=auto":   "s3://bkt/p?endpoint=http://127.0.0.1:7",
		"s3://bkt/p?endpoint=minio.local:9000&path_style=true": "s3://bkt/p?endpoint=minio.local:9000",
	} {
		target, err := OpenTarget(context.Background(), url, TargetOptions{})
		if err != nil {
			t.Errorf("%q: %v", url, err)
		} else if target.String() != want {
			t.Errorf("%q calls itself %q, want %q", url, target, want)
		}
	}
}
