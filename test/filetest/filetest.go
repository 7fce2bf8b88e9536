// Package filetest searches the files that tests leave behind.
package filetest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// With returns the names, without folders, of the files below dir that contain a text. If a file cannot be read, the test fails, because
// the file might contain the text.
func With(t testing.TB, dir, text string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
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
