package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/internal/datadir"
)

// TestCommandsOnACopiedDirectory: the files with keys and certificates are only on the machine where wayside ran.
// Commands that do not need them work without them. The two S3 keys are only used together.
func TestCommandsOnACopiedDirectory(t *testing.T) {
	dir, elsewhere := archived(t, ""), t.TempDir()
	there, gone := filepath.Join(elsewhere, "access"), filepath.Join(elsewhere, "gone")
	if err := os.WriteFile(there, []byte("access"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := datadir.WriteConfig(dir, datadir.Config{Version: version, Keys: map[string]string{
		"archive.url": "s3://bucket/prefix?endpoint=https://127.0.0.1:2", "archive.ca_file": gone,
		"archive.access_key_file": there, "archive.secret_key_file": gone,
	}})
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := Main([]string{"verify", "--local", "--data", dir}, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	for _, path := range []string{"archive.ca_file", "archive.secret_key_file"} {
		if !strings.Contains(errs.String(), "continuing without "+path+" of the last run") {
			t.Errorf("nothing of %s in\n%s", path, errs.String())
		}
	}
	command(t, exitOK, "archive", "ls", "--data", dir, "--archive", "file://"+filepath.Join(dir, datadir.ArchiveDir))
}
