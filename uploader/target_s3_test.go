package uploader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestS3RequestsAreCountedAndPlain(t *testing.T) {
	p := bucket(t)
	ctx := context.Background()
	content := strings.Repeat("x", 100_000)
	if err := p.Put(ctx, "v1/a.ndjson.gz", strings.NewReader(content), int64(len(content)), map[string]string{MetaRows: "1"}); err != nil {
		t.Fatal(err)
	}
	h := p.requests.headers[0]
	for name, want := range map[string]string{
		"X-Amz-Content-Sha256": "", "If-None-Match": "*", "Content-Type": "application/gzip", "X-Amz-Meta-Wayside-Rows": "1",
	} {
		if got := h.Get(name); got == "" || (want != "" && got != want) {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	for name := range h {
		if strings.Contains(strings.ToLower(name), "checksum") || name == "Content-Encoding" || name == "Transfer-Encoding" {
			t.Errorf("header %s: %s", name, h.Get(name))
		}
	}
	if sha := h.Get("X-Amz-Content-Sha256"); len(sha) != 64 {
		t.Errorf("the body is signed as %q", sha)
	}
	if got := p.requests.take(); got != "PUT" {
		t.Errorf("an upload takes %s", got)
	}
}

func TestS3AnswersToIfNoneMatch(t *testing.T) {
	ctx := context.Background()
	meta := map[string]string{MetaRows: "1"}
	put := func(p place, content string) error {
		return p.Put(ctx, "v1/a.ndjson.gz", bytes.NewReader([]byte(content)), int64(len(content)), meta)
	}
	t.Run("412 with the same object is success", func(t *testing.T) {
		p := bucket(t)
		if err := put(p, "content"); err != nil {
			t.Fatal(err)
		}
		p.requests.take()
		if err := put(p, "content"); err != nil {
			t.Fatal(err)
		}
		if got := p.requests.take(); got != "PUT GET" {
			t.Errorf("requests are %s", got)
		}
	})
	t.Run("412 with another object writes again", func(t *testing.T) {
		p := bucket(t)
		if err := put(p, "conten"); err != nil {
			t.Fatal(err)
		}
		p.requests.take()
		if err := put(p, "content"); err != nil {
			t.Fatal(err)
		}
		if got := p.requests.take(); got != "PUT GET PUT" {
			t.Errorf("requests are %s", got)
		}
		wantObject(t, p, "v1/a.ndjson.gz", "content", meta)
	})
	t.Run("412 before the body is read leaves the body alone", func(t *testing.T) {
		p := bucket(t)
		late := make(chan error, 1)
		p.requests.answerWith(func(r *http.Request) *http.Response {
			if r.Header.Get("If-None-Match") == "" {
				return nil
			}
			// If a response comes early, net/http may still be reading the body when the caller already has the
			// response. This imitates that.
			body := r.Body
			r.Body = nil
			p.requests.answerWith(func(again *http.Request) *http.Response {
				if again.Method == http.MethodPut {
					_, err := io.ReadAll(body)
					late <- err
				}
				return nil
			})
			return s3Error(r, http.StatusPreconditionFailed, "PreconditionFailed")
		})
		if err := put(p, "content"); err != nil {
			t.Fatal(err)
		}
		if err := <-late; !errors.Is(err, errAttemptEnded) {
			t.Errorf("the abandoned request can still read: %v", err)
		}
		wantObject(t, p, "v1/a.ndjson.gz", "content", meta)
	})
	t.Run("412 that is lost with the connection counts too", func(t *testing.T) {
		p := bucket(t)
		p.requests.cut = func(r *http.Request) bool { return r.Header.Get("If-None-Match") != "" }
		if err := put(p, "content"); err == nil {
			t.Fatal("a cut connection to a server without the object is success")
		}
		p.requests.cut = nil
		if err := put(p, "conten"); err != nil {
			t.Fatal(err)
		}
		p.requests.take()
		p.requests.cut = func(r *http.Request) bool { return r.Header.Get("If-None-Match") != "" }
		for _, want := range []string{"PUT HEAD GET PUT", "PUT HEAD GET"} {
			if err := put(p, "content"); err != nil {
				t.Fatal(err)
			}
			if got := p.requests.take(); got != want {
				t.Errorf("requests are %s, want %s", got, want)
			}
		}
	})
	t.Run("501 does without, from then on", func(t *testing.T) {
		p := bucket(t)
		p.requests.answerWith(func(r *http.Request) *http.Response {
			if r.Header.Get("If-None-Match") != "" {
				return s3Error(r, http.StatusNotImplemented, "NotImplemented")
			}
			return nil
		})
		for _, want := range []string{"PUT PUT", "PUT"} {
			if err := put(p, "content"); err != nil {
				t.Fatal(err)
			}
			if got := p.requests.take(); got != want {
				t.Errorf("requests are %s, want %s", got, want)
			}
		}
	})
}

func TestS3ErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		status     int
		code, hint string
	}{
		{404, "NoSuchBucket", "create the bucket"},
		{403, "AccessDenied", "s3:PutObject"},
		{403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"},
		{403, "RequestTimeTooSkewed", "clock"},
		{400, "AuthorizationHeaderMalformed", "region="},
		{301, "PermanentRedirect", "region="},
		{503, "SlowDown", ""},
	} {
		t.Run(c.code, func(t *testing.T) {
			p := bucket(t)
			p.requests.answerWith(func(r *http.Request) *http.Response { return s3Error(r, c.status, c.code) })
			err := p.Put(context.Background(), "v1/a.ndjson.gz", strings.NewReader("x"), 1, nil)
			if err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), c.hint) || !strings.Contains(err.Error(), "v1/a.ndjson.gz") {
				t.Fatalf("error is %v", err)
			}
			want := "PUT"
			if c.code == "AccessDenied" {
				want = "PUT GET" // checks whether the object exists and is locked
			}
			if got := p.requests.take(); got != want {
				t.Errorf("requests are %s: retrying is the job's business", got)
			}
		})
	}
}

func TestCredentialsComeFromTheEnvironmentOrAreMissed(t *testing.T) {
	s := s3Server(t)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	// Use a metadata address at which nothing answers, so that no test waits for a cloud.
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
	transport := &http.Transport{DisableKeepAlives: true}
	open := func() Target {
		target, err := OpenTarget(context.Background(), s.URL("env"), TargetOptions{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	put := func() error {
		return open().Put(context.Background(), "v1/a.ndjson.gz", strings.NewReader("x"), 1, nil)
	}
	if err := put(); !errors.Is(err, errNoCredentials) {
		t.Fatalf("without credentials: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretKey)
	if err := put(); err != nil {
		t.Fatalf("with credentials: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if err := put(); err == nil || !strings.Contains(err.Error(), "check AWS_ACCESS_KEY_ID") {
		t.Fatalf("with wrong credentials: %v", err)
	}
}
