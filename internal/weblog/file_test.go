package weblog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

func writeFile(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func compressed(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestFile(t *testing.T) {
	text := "one\r\n\n" + strings.Repeat("x", LineBytesMax) + "\n" + strings.Repeat("y", LineBytesMax+1) + "\n" + strings.Repeat("z", 5*LineBytesMax) + "\nlast\n"
	want := []string{"one", "", strings.Repeat("x", LineBytesMax), "long", "long", "last"}
	for name, body := range map[string][]byte{
		"plain": []byte(text + "unfinish"), "gzip": compressed(t, text+"unfinish"), "two members": append(compressed(t, text[:9]), compressed(t, text[9:]+"unfinish")...),
	} {
		f, err := Open(writeFile(t, name, body))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			line, err := f.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, ErrLong) {
				line, err = []byte("long"), nil
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, string(line))
		}
		sum := sha256.Sum256([]byte(text))
		if strings.Join(got, "|") != strings.Join(want, "|") || !f.Unfinished || f.Line != 6 || f.Offset != int64(len(text)) || f.SHA256() != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: %d lines, offset %d of %d, %+v", name, len(got), f.Offset, len(text), f)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	whole := compressed(t, strings.Repeat("a line\n", 1000))
	for name, body := range map[string][]byte{"ends too early": whole[:len(whole)-9], "damaged": append(bytes.Clone(whole[:len(whole)-6]), 1, 2, 3, 4, 5, 6), "no gzip": {0x1f, 0x8b, 7}} {
		f, err := Open(writeFile(t, name, body))
		for err == nil {
			_, err = f.Next()
		}
		if errors.Is(err, io.EOF) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Error(err)
	}
}
