// Package filetest looks into the files that tests leave behind.
package filetest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// With are the names of the files below a folder, their folders left out, that hold a text. A file that cannot be read is an
// error of the test: it might hold it.
func With(t testing.TB, dir, text string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path) //nolint:gosec // a test's own file
		if bytes.Contains(body, []byte(text)) {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return names
}
