package uploader

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// answering opens a target on a server with this handler.
func answering(t *testing.T, handler http.HandlerFunc) Target {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return open(t, "s3://bkt/p?endpoint="+server.URL)
}

func open(t *testing.T, url string) Target {
	t.Helper()
	target, err := OpenTarget(t.Context(), url, TargetOptions{AccessKey: "a", SecretKey: "b", Transport: closing(t)})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// askAll calls each operation of a target and returns the errors by name. It fails the test if an operation succeeds.
func askAll(t *testing.T, target Target) map[string]error {
	t.Helper()
	_, _, get := target.Get(t.Context(), "v1/a.ndjson.gz")
	_, stat := target.Stat(t.Context(), "v1/a.ndjson.gz")
	errs := map[string]error{
		"put": target.Put(t.Context(), "v1/a.ndjson.gz", strings.NewReader("xyz"), 3, nil), "get": get, "stat": stat,
		"list": target.List(t.Context(), "v1/", func(o ObjectInfo) error { t.Errorf("listed %v", o); return nil }),
	}
	for name, err := range errs {
		if err == nil {
			t.Errorf("%s succeeds", name)
		}
	}
	return errs
}

// wantLine checks that each error is one short line that is safe to log, contains all of want, and says nothing about a
// missing object.
func wantLine(t *testing.T, errs map[string]error, want ...string) {
	t.Helper()
	for name, err := range errs {
		text := err.Error()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: want %q in %q", name, w, text)
			}
		}
		if len(text) > 700 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.ContainsAny(text, "<>") {
			t.Errorf("%s: not fit for a log: %q", name, text)
		}
		if errors.Is(err, ErrNotFound) || strings.Contains(text, ErrNotFound.Error()) {
			t.Errorf("%s: taken for a missing object: %q", name, text)
		}
	}
}

const page = "<!DOCTYPE html>\n<html><body onload=\"x\">\x1b[31mWelcome to my router\n</body></html>"

// TestServersThatAreNoS3: whatever a server responds, the error is one clear line that says that it is not an S3
// server, without quoting its text.
func TestServersThatAreNoS3(t *testing.T) {
	for name, c := range map[string]struct {
		status       int
		header, body string
		want         string
	}{
		"a page":                 {200, "text/html; charset=utf-8", page, "does not speak S3: HTTP 200 text/html"},
		"a page, not called so":  {200, "application/octet-stream", page, "does not speak S3: HTTP 200"},
		"anything":               {200, "text/plain", "OK", "does not speak S3: HTTP 200 text/plain"},
		"nothing":                {200, "", "", "does not speak S3: HTTP 200"},
		"JSON":                   {200, "application/json", `{"error": "no"}`, "does not speak S3: HTTP 200 application/json"},
		"no such page":           {404, "text/html", page, "does not speak S3: HTTP 404 text/html"},
		"method not allowed":     {405, "text/html", page, "does not speak S3: HTTP 405 text/html"},
		"HTML with 501":          {501, "text/html", page, "does not speak S3: HTTP 501 text/html"},
		"a login page":           {302, "text/html", page, "redirects to https://login.example/"},
		"a gateway":              {502, "text/html", page, "load balancer"},
		"JSON 400":               {400, "application/json", `{"message": "bad"}`, "does not speak S3: HTTP 400 application/json"},
		"TLS wanted":             {400, "text/html", "<html>The plain HTTP request was sent to HTTPS port</html>", "https://"},
		"404 without a word":     {404, "", "", "HTTP 404"},
		"500 without a word":     {500, "", "", "HTTP 500"},
		"escape sequences":       {400, "\x1b[31mred", strings.Repeat("\x1b[2J", 1000), "does not speak HTTP"},
		"a very long field":      {400, strings.Repeat("long", 4000), "x", "does not speak S3: HTTP 400"},
		"XML of another kind":    {200, "text/xml", "<rss><channel>" + strings.Repeat("x", 100_000) + "</channel></rss>", ""},
		"an error in long words": {400, "application/xml", "<Error><Code>" + strings.Repeat("C\u009b", 5000) + "</Code><Message>" + strings.Repeat("a\u009b\nb&lt;x&gt;", 5000) + "</Message></Error>", "HTTP 400 C"},
	} {
		t.Run(name, func(t *testing.T) {
			target := answering(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header()["Content-Type"] = []string{c.header}
				if c.status == http.StatusFound {
					w.Header().Set("Location", "https://login.example/")
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			errs := askAll(t, target)
			if name == "an error in long words" {
				delete(errs, "stat") // HEAD has no body to be long
				for _, err := range errs {
					if !strings.Contains(err.Error(), c.want) {
						t.Errorf("want %q in %q", c.want, err)
					}
					if len(err.Error()) > 700 || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
						t.Errorf("not fit for a log: %q", err)
					}
				}
				return
			}
			if name == "TLS wanted" || name == "JSON 400" || name == "a very long field" {
				delete(errs, "stat")
			}
			wantLine(t, errs, c.want)
			for _, err := range errs {
				if strings.Contains(err.Error(), "Welcome") {
					t.Errorf("the page is in the error: %q", err)
				}
			}
		})
	}
}

// TestServersThatAreNoHTTP: another service is listening on the port.
func TestServersThatAreNoHTTP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2p1\x1b[2J\r\n"+strings.Repeat("x", 10_000)+"\r\n")
			go func() { // wait until the client has disconnected: a reset would not show that this is not HTTP
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	wantLine(t, askAll(t, open(t, "s3://bkt/p?endpoint=http://"+ln.Addr().String())), "does not speak HTTP", "endpoint=")
}

// TestWhatIsMissingIsSaid: on a real server, a missing object, a missing bucket and a wrong key are distinguished.
func TestWhatIsMissingIsSaid(t *testing.T) {
	s := s3Server(t)
	open := func(bucket, access, secret string) Target {
		target, err := OpenTarget(t.Context(), strings.Replace(s.URL("missing"), s.Bucket, bucket, 1), TargetOptions{AccessKey: access, SecretKey: secret, Transport: closing(t)})
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	right := open(s.Bucket, s.AccessKey, s.SecretKey)
	if _, err := right.Stat(t.Context(), "v1/a.ndjson.gz"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a missing object: %v", err)
	}
	if _, _, err := right.Get(t.Context(), "v1/a.ndjson.gz"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a missing object: %v", err)
	}
	wantLine(t, askAll(t, open("no-such-bucket", s.AccessKey, s.SecretKey)), "NoSuchBucket", "create the bucket no-such-bucket")
	for name, target := range map[string]Target{"key": open(s.Bucket, "nobody", s.SecretKey), "secret": open(s.Bucket, s.AccessKey, "wrong")} {
		t.Run("wrong "+name, func(t *testing.T) { wantLine(t, askAll(t, target), "AWS_ACCESS_KEY_ID") })
	}
	// Some servers respond with 404 if the key may not see the object.
	for _, code := range []string{"InvalidAccessKeyId", "NoSuchUser", "NotFound", "AccessDenied"} {
		target := answering(t, func(w http.ResponseWriter, r *http.Request) { answer(http.StatusNotFound, code)(w, r, nil) })
		wantLine(t, askAll(t, target), "AWS_ACCESS_KEY_ID")
	}
}

// TestObjectLock: in a bucket with a default retention, AWS rejects objects without a checksum; other servers reject
// one kind of checksum, or both. The kind that was accepted is remembered.
func TestObjectLock(t *testing.T) {
	const md5Field, shaField = "Content-Md5", "X-Amz-Checksum-Sha256"
	refuse := func(status int, code string, when func(h http.Header) bool) fault {
		return puts(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			if when(r.Header) {
				answer(status, code)(w, r, pass)
				return
			}
			pass.ServeHTTP(w, r)
		})
	}
	has := func(h http.Header, field string) bool { return h.Get(field) != "" }
	for name, c := range map[string]struct {
		fault  fault
		second int // number of requests for the second upload
	}{
		"AWS":                  {refuse(400, "InvalidRequest", func(h http.Header) bool { return !has(h, md5Field) && !has(h, shaField) }), 1},
		"no Content-MD5":       {refuse(400, "InvalidRequest", func(h http.Header) bool { return has(h, md5Field) }), 1},
		"Content-MD5 only":     {refuse(400, "InvalidRequest", func(h http.Header) bool { return !has(h, md5Field) }), 1},
		"checksum only":        {refuse(400, "InvalidRequest", func(h http.Header) bool { return !has(h, shaField) }), 1},
		"501 to Content-MD5":   {refuse(501, "Unsupported", func(h http.Header) bool { return has(h, md5Field) }), 1},
		"neither":              {refuse(400, "InvalidArgument", func(h http.Header) bool { return has(h, md5Field) || has(h, shaField) }), 1},
		"nothing, nor If-None": {refuse(501, "NotImplemented", func(h http.Header) bool { return has(h, md5Field) || has(h, shaField) || has(h, "If-None-Match") }), 1},
	} {
		t.Run(name, func(t *testing.T) {
			p, h := hostileBucket(t)
			h.set(c.fault)
			for i, key := range []string{"v1/a.ndjson.gz", "v1/b.ndjson.gz"} {
				p.requests.take()
				if err := p.Put(t.Context(), key, strings.NewReader("content"), 7, map[string]string{MetaRows: "1"}); err != nil {
					t.Fatal(err)
				}
				if n := len(strings.Fields(p.requests.take())); i == 1 && n != c.second {
					t.Errorf("the second upload takes %d requests, want %d", n, c.second)
				}
				wantObject(t, p, key, "content", map[string]string{MetaRows: "1"})
			}
		})
	}
	t.Run("refused for another reason", func(t *testing.T) {
		p, h := hostileBucket(t)
		h.set(puts(func(w http.ResponseWriter, r *http.Request, pass http.Handler) { // the first response is the reason
			answer(http.StatusBadRequest, map[bool]string{true: "InvalidRequest", false: "InvalidArgument"}[has(r.Header, md5Field)])(w, r, pass)
		}))
		if err := p.Put(t.Context(), "v1/a.ndjson.gz", strings.NewReader("content"), 7, nil); err == nil || !strings.Contains(err.Error(), "InvalidRequest") {
			t.Errorf("%v", err)
		}
		h.set(nil)
		p.requests.take()
		if err := p.Put(t.Context(), "v1/a.ndjson.gz", strings.NewReader("content"), 7, nil); err != nil || p.requests.take() != "PUT" {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestRepeatedPutAnsweredAsElsewhere: to a conditional PUT of an existing object, older MinIO servers respond with 304,
// and AWS with 409 during another PUT. A process that was killed before it could enter the object must continue.
func TestRepeatedPutAnsweredAsElsewhere(t *testing.T) {
	for name, c := range map[string]fault{
		"304": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusNotModified)
		},
		"409": answer(http.StatusConflict, "ConditionalRequestConflict"),
		"412": answer(http.StatusPreconditionFailed, "PreconditionFailed"),
	} {
		t.Run(name, func(t *testing.T) {
			p, h := hostileBucket(t)
			h.set(puts(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if _, err := p.Stat(context.WithoutCancel(r.Context()), "v1/a.ndjson.gz"); err == nil && r.Header.Get("If-None-Match") != "" {
					c(w, r, pass)
					return
				}
				pass.ServeHTTP(w, r)
			}))
			for _, content := range []string{"content", "content", "another"} {
				if err := p.Put(t.Context(), "v1/a.ndjson.gz", strings.NewReader(content), 7, map[string]string{MetaRows: "1"}); err != nil {
					t.Fatal(err)
				}
				wantObject(t, p, "v1/a.ndjson.gz", content, map[string]string{MetaRows: "1"})
			}
		})
	}
}

// TestBucketWithObjectLock writes into a bucket with Object Lock and a default retention.
func TestBucketWithObjectLock(t *testing.T) {
	s := s3Server(t)
	core, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: s.Region, BucketLookup: minio.BucketLookupPath,
		Transport: &http.Transport{DisableKeepAlives: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	const locked = "locked"
	if err := core.MakeBucket(t.Context(), locked, minio.MakeBucketOptions{ObjectLocking: true}); err != nil {
		t.Skipf("SKIPPED, the server makes no bucket with Object Lock: %v", err)
	}
	mode, validity, unit := minio.Governance, uint(1), minio.Days
	if err := core.SetBucketObjectLockConfig(t.Context(), locked, &mode, &validity, &unit); err != nil {
		t.Skipf("SKIPPED, the server knows no default retention: %v", err)
	}
	target, err := OpenTarget(t.Context(), strings.Replace(s.URL("lock"), s.Bucket, locked, 1), TargetOptions{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Transport: closing(t)})
	if err != nil {
		t.Fatal(err)
	}
	m := newMemStore(t)
	items := traffic(100, testHour, 1, false)
	m.apply(testEpoch, testHour, 500, items...)
	u, _ := newTest(t, m, target, nil)
	for range 2 { // the object of the first test cannot be deleted
		if err := u.prober.try(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m.failMark = errors.New("killed") // between upload and entry: the object exists and is locked
	if _, err := u.ArchiveOnce(t.Context(), true); err == nil {
		t.Fatal("no error without an entry")
	}
	if r, err := u.ArchiveOnce(t.Context(), true); err != nil || r.Rows != 100 {
		t.Fatalf("%+v, %v", r, err)
	}
	wantArchived(t, target, items)
}
