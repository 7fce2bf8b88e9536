package uploader

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestCAFileIsTrusted(t *testing.T) {
	s := s3Server(t)
	h := newHostile(t, s.Endpoint)
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	put := func(ca string) error {
		target, err := OpenTarget(t.Context(), strings.Replace(s.URL("ca"), s.Endpoint, server.URL, 1),
			TargetOptions{AccessKey: s.AccessKey, SecretKey: s.SecretKey, CA: ca})
		if err != nil {
			return err
		}
		return target.Put(t.Context(), "v1/a.ndjson.gz", strings.NewReader("x"), 1, nil)
	}
	if err := put(""); err == nil || !strings.Contains(err.Error(), "archive.ca_file") {
		t.Errorf("without the CA: %v", err)
	}
	if err := put(ca); err != nil {
		t.Errorf("with the CA: %v", err)
	}
	if err := put("nothing"); err == nil || !strings.Contains(err.Error(), "no PEM certificate") {
		t.Errorf("with no certificate: %v", err)
	}
}

func TestBucketInHostNameOrInPath(t *testing.T) {
	for style, want := range map[string]string{"true": "http://s3.test:9000/bkt/p/v1/a.ndjson.gz", "false": "http://bkt.s3.test:9000/p/v1/a.ndjson.gz"} {
		var asked string
		log := &requestLog{answer: func(r *http.Request) *http.Response {
			asked = r.URL.String()
			return s3Error(r, http.StatusForbidden, "AccessDenied")
		}}
		target, err := OpenTarget(t.Context(), "s3://bkt/p?endpoint=http://s3.test:9000&path_style="+style, TargetOptions{AccessKey: "a", SecretKey: "b", Transport: log})
		if err != nil {
			t.Fatal(err)
		}
		if err := target.Put(t.Context(), "v1/a.ndjson.gz", strings.NewReader("x"), 1, nil); err == nil || asked != want {
			t.Errorf("path_style=%s asks for %s, want %s", style, asked, want)
		}
	}
}

// TestCredentialsAreReadAgain uses the metadata service of a container, whose first keys are wrong and expire, and
// whose second keys are right.
func TestCredentialsAreReadAgain(t *testing.T) {
	s := s3Server(t)
	var asked atomic.Int64
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		keys := map[string]string{"AccessKeyId": "old", "SecretAccessKey": "old", "Token": "", "Expiration": time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)}
		if asked.Add(1) > 1 {
			keys["AccessKeyId"], keys["SecretAccessKey"] = s.AccessKey, s.SecretKey
			keys["Expiration"] = time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		}
		_ = json.NewEncoder(w).Encode(keys)
	}))
	t.Cleanup(metadata.Close)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.URL)
	target, err := OpenTarget(t.Context(), s.URL("again"), TargetOptions{Transport: &http.Transport{DisableKeepAlives: true}})
	if err != nil {
		t.Fatal(err)
	}
	put := func() error { return target.Put(t.Context(), "v1/a.ndjson.gz", strings.NewReader("x"), 1, nil) }
	if err := put(); err == nil {
		t.Fatal("wrong keys are accepted")
	}
	for range 3 {
		if err := put(); err != nil {
			t.Fatalf("with new keys: %v", err)
		}
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("credentials were asked for %d times, want 2", n)
	}
}
