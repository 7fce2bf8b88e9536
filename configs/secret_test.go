package configs

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/gob"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func secretFile(t *testing.T, secret string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSecretsComeFromFiles(t *testing.T) {
	c, err := Load(LoadOptions{Environ: []string{
		"WAYSIDE_ADMIN_TOKEN_FILE=" + secretFile(t, "t0ken-of-a-test\n"), "WAYSIDE_ADMIN=:8091", "WAYSIDE_ARCHIVE=s3://bucket/prefix",
		"WAYSIDE_ARCHIVE_ACCESS_KEY_FILE=" + secretFile(t, "access"),
		"WAYSIDE_ARCHIVE_SECRET_KEY_FILE=" + secretFile(t, "hush"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Admin.Token) != "t0ken-of-a-test" || string(c.Archive.AccessKey) != "access" || string(c.Archive.SecretKey) != "hush" {
		t.Error("a secret was not read from its file")
	}
}

func TestStrongerTokenWins(t *testing.T) {
	file := writeFile(t, "admin: {token: weak-of-a-test}\n")
	c, err := Load(LoadOptions{File: file, Environ: []string{"WAYSIDE_ADMIN_TOKEN_FILE=" + secretFile(t, "strong-of-a-test")}})
	if err != nil || string(c.Admin.Token) != "strong-of-a-test" {
		t.Errorf("file below environment: %v", err)
	}
	file = writeFile(t, "admin: {token_file: "+secretFile(t, "weak-of-a-test")+"}\n")
	c, err = Load(LoadOptions{File: file, Environ: []string{"WAYSIDE_ADMIN_TOKEN=strong-of-a-test"}})
	if err != nil || string(c.Admin.Token) != "strong-of-a-test" {
		t.Errorf("environment above file: %v", err)
	}
	file = writeFile(t, "admin: {token: one-of-two-tokens, token_file: "+secretFile(t, "two-of-two-tokens")+"}\n")
	if _, err = Load(LoadOptions{File: file}); err == nil || !strings.Contains(err.Error(), "keep one of the two") {
		t.Errorf("both in one file: %v", err)
	}
}

func TestSecretFileErrors(t *testing.T) {
	for value, want := range map[string]string{
		"/nowhere":           "environment WAYSIDE_ADMIN_TOKEN_FILE: admin.token_file: cannot read the file",
		secretFile(t, " \n"): "is empty: write the secret into it",
	} {
		if _, err := Load(LoadOptions{Environ: []string{"WAYSIDE_ADMIN_TOKEN_FILE=" + value}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", value, err)
		}
	}
	_, err := Load(LoadOptions{Environ: []string{"WAYSIDE_ARCHIVE_SECRET_KEY_FILE=" + secretFile(t, "x")}})
	if err == nil || !strings.Contains(err.Error(), "archive.secret_key_file: needs archive.access_key_file as well") {
		t.Errorf("got %v", err)
	}
}

// TestCertificatesOfABundle: certificates that Go cannot parse are skipped. A file that has only such certificates is refused.
func TestCertificatesOfABundle(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	good, bad := block(der), block(der[:len(der)/2])
	for text, want := range map[string]string{good + bad: "", bad + good: "", bad: "the first that cannot is number 1", "no PEM": "no PEM certificate"} {
		_, err := Load(LoadOptions{Environ: []string{"WAYSIDE_ARCHIVE=s3://bucket/prefix", "WAYSIDE_ARCHIVE_CA_FILE=" + secretFile(t, text)}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestGobKeepsSecrets: wayside run passes its configuration to its child as gob, through a pipe. Secrets must survive this.
func TestGobKeepsSecrets(t *testing.T) {
	c, err := Load(LoadOptions{Environ: []string{"WAYSIDE_ADMIN_TOKEN=hush-hush-hush"}})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	var got Config
	if err := gob.NewEncoder(&buf).Encode(c); err != nil {
		t.Fatal(err)
	}
	if err := gob.NewDecoder(&buf).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if string(got.Admin.Token) != "hush-hush-hush" || got.Archive.After != Hour {
		t.Errorf("got %q, %v", string(got.Admin.Token), got.Archive.After)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	c, err := Load(LoadOptions{Environ: []string{"WAYSIDE_ADMIN_TOKEN=hush-hush-hush"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Print(&out, c); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%v %+v %#v %s", *c, *c, *c, c.Admin.Token)
	slog.New(slog.NewTextHandler(&out, nil)).Info("config", "token", c.Admin.Token, "all", c)
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hush-hush-hush") {
		t.Errorf("the token is shown:\n%s", out.String())
	}
}

func TestPrintSaysWhereAndLoadsAgain(t *testing.T) {
	file := writeFile(t, "listen: 127.0.0.1:1\nrecord: {exclude: {paths: ['/a,b', '/c']}}\nservice: 'yes'\n")
	c, err := Load(LoadOptions{File: file, Environ: []string{"WAYSIDE_ARCHIVE_AFTER=90m"}, Flags: map[string]string{"data": "/d"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Print(&out, c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"listen: 127.0.0.1:1 # " + file + ":1\n", "after: 1h30m # WAYSIDE_ARCHIVE_AFTER", "dir: /d # --data", "max: 1000\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	again, err := Load(LoadOptions{File: writeFile(t, out.String())})
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range table(again) {
		if got, want := text(k.field), text(table(c)[i].field); got != want {
			t.Errorf("%s is %q after printing and loading, was %q", k.path, got, want)
		}
	}
}
