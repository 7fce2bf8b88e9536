package uploader

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/s3test"
)

// cloud issues the credentials of a real server, as STS, the endpoint of a container and the metadata service of an
// instance do.
type cloud struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func newCloud(t *testing.T, s *s3test.Server) *cloud {
	t.Helper()
	c := &cloud{}
	keys := map[string]string{
		"Code": "Success", "AccessKeyId": s.AccessKey, "SecretAccessKey": s.SecretKey, "Token": "", "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.asked = append(c.asked, r.Method+" "+r.URL.Path)
		c.mu.Unlock()
		switch {
		case r.Method == http.MethodPost && r.FormValue("Action") == "AssumeRoleWithWebIdentity":
			if r.FormValue("WebIdentityToken") != "pod-token" || r.FormValue("RoleArn") != "arn:aws:iam::1:role/books" {
				http.Error(w, "wrong token", http.StatusForbidden)
				return
			}
			fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
				`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken></SessionToken><Expiration>%s</Expiration>`+
				`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, s.AccessKey, s.SecretKey, keys["Expiration"])
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			fmt.Fprint(w, "imds-token")
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/" && r.Header.Get("X-aws-ec2-metadata-token") == "imds-token":
			fmt.Fprint(w, "books")
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/books", r.URL.Path == "/container" && r.Header.Get("Authorization") == "container-token":
			_ = json.NewEncoder(w).Encode(keys)
		default:
			http.Error(w, "no", http.StatusNotFound)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// withoutCredentials hides the credentials of this machine.
func withoutCredentials(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL_STS", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
}

func TestCredentialsComeFromTheWholeChain(t *testing.T) {
	s := s3Server(t)
	for name, c := range map[string]struct {
		set   func(t *testing.T, c *cloud)
		asked string // the service that must be asked; empty if none
	}{
		"environment": {set: func(t *testing.T, _ *cloud) {
			t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey)
			t.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretKey)
		}},
		"profile in the shared file": {set: func(t *testing.T, _ *cloud) {
			file := filepath.Join(t.TempDir(), "credentials")
			text := fmt.Sprintf("[default]\naws_access_key_id = no\naws_secret_access_key = no\n[books]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s.AccessKey, s.SecretKey)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
			t.Setenv("AWS_PROFILE", "books")
		}},
		"web identity of a pod": {asked: "POST /", set: func(t *testing.T, c *cloud) {
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte("pod-token"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file)
			t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/books")
			t.Setenv("AWS_ENDPOINT_URL_STS", c.URL)
		}},
		"container": {asked: "GET /container", set: func(t *testing.T, c *cloud) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", c.URL+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token")
		}},
		"metadata of an instance": {
			asked: "PUT /latest/api/token, GET /latest/meta-data/iam/security-credentials/, GET /latest/meta-data/iam/security-credentials/books",
			set: func(t *testing.T, c *cloud) {
				t.Setenv("AWS_EC2_METADATA_DISABLED", "")
				t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", c.URL)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			withoutCredentials(t)
			cloud := newCloud(t, s)
			c.set(t, cloud)
			target, err := OpenTarget(t.Context(), s.URL("chain"), TargetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := target.Put(t.Context(), "v1/a.ndjson.gz", strings.NewReader("x"), 1, nil); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(cloud.asked, ", "); got != c.asked {
				t.Errorf("asked for %q, want %q", got, c.asked)
			}
		})
	}
}

func TestNoCredentialsSayWhatToSet(t *testing.T) {
	s := s3Server(t)
	withoutCredentials(t)
	target, err := OpenTarget(t.Context(), s.URL("none"), TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = target.Put(t.Context(), "v1/a.ndjson.gz", strings.NewReader("x"), 1, nil)
	if err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("got %v", err)
	}
}
