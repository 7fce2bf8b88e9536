package reader_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// TestNewerObjectsAreRefused: every command stops at an object that a newer wayside wrote, names it and both versions, and changes nothing.
func TestNewerObjectsAreRefused(t *testing.T) {
	reads := map[string]func(t *testing.T, l *library) error{
		"cat": func(t *testing.T, l *library) error {
			_, err := reader.Cat(t.Context(), l.target, reader.Filter{}, io.Discard, 0)
			return err
		},
		"copy": func(t *testing.T, l *library) error {
			dir := t.TempDir()
			to, err := uploader.OpenTarget(t.Context(), dir, uploader.TargetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = reader.Copy(t.Context(), l.target, to, reader.CopyOptions{})
			for name := range contents(t, dir) {
				if before := contents(t, l.dir); before[name] == "" || strings.Contains(before[name], `"wayside-format": "2"`) {
					t.Errorf("%s was copied", name)
				}
			}
			return err
		},
		"merge": func(t *testing.T, l *library) error {
			var objects []uploader.Object
			if err := reader.List(t.Context(), l.target, reader.Range{}, func(o uploader.Object) error { objects = append(objects, o); return nil }); err != nil {
				t.Fatal(err)
			}
			return reader.Merge(t.Context(), l.target, objects[:1], func(*uploader.Object, *uploader.Line) error { return nil })
		},
		"rebuild from events":     rebuild(reader.FromEvents),
		"rebuild from statistics": rebuild(reader.FromStatistics),
		"verify":                  verified(false),
		"verify quick":            verified(true),
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			l := newLibrary(t)
			if err := read(t, l); err != nil {
				t.Fatalf("before: %v", err)
			}
			object := l.files(t)[0]
			if strings.HasSuffix(name, "statistics") {
				object = strings.Replace(object, "/v1/", "/v1/stats/", 1)
			}
			edit(t, object+".json", regexp.MustCompile(`"wayside-format": "1"`), `"wayside-format": "2"`)
			before := contents(t, l.dir)
			err := read(t, l)
			if !isNewer(err) || !strings.Contains(err.Error(), filepath.Base(object)) || !strings.Contains(err.Error(), "is 2, but this version reads up to 1") {
				t.Errorf("%v", err)
			}
			if !maps.Equal(before, contents(t, l.dir)) {
				t.Error("the archive was changed")
			}
		})
	}
}

// TestNewerLinesAreRefused: the same applies if the metadata is missing and only the lines have the version.
func TestNewerLinesAreRefused(t *testing.T) {
	l := newLibrary(t)
	object := l.files(t)[0]
	edit(t, object+".json", regexp.MustCompile(`"wayside-format": "1",?`), ``)
	zipped, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err = w.Write(bytes.ReplaceAll(text, []byte(`"schema_version":1`), []byte(`"schema_version":2`)))
	if err := errors.Join(err, w.Close(), os.WriteFile(object, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := rebuild(reader.FromEvents)(t, l); !isNewer(err) {
		t.Errorf("rebuild: %v", err)
	}
}

func rebuild(from reader.Origin) func(*testing.T, *library) error {
	return func(t *testing.T, l *library) error {
		_, err := reader.Rebuild(t.Context(), l.target, reader.RebuildOptions{From: from})
		return err
	}
}

// problemError wraps the report of verify, which reports objects that it cannot read and continues.
type problemError struct{ text string }

func (p problemError) Error() string { return p.text }

func verified(quick bool) func(*testing.T, *library) error {
	return func(t *testing.T, l *library) error {
		r, err := reader.Verify(t.Context(), l.target, reader.VerifyOptions{Quick: quick, Plans: l.plans(t)})
		if err != nil || len(r.Problems) == 0 {
			return err
		}
		if len(r.Problems) > 1 {
			t.Errorf("%v", r.Problems)
		}
		return problemError{r.Problems[0].String()}
	}
}

func isNewer(err error) bool {
	var found problemError
	return errors.Is(err, uploader.ErrNewerFormat) || errors.As(err, &found) && strings.Contains(found.text, uploader.ErrNewerFormat.Error())
}

func edit(t *testing.T, name string, what *regexp.Regexp, with string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := what.ReplaceAll(text, []byte(with))
	if bytes.Equal(text, changed) {
		t.Fatalf("nothing to edit in %s", text)
	}
	if err := os.WriteFile(name, changed, 0o600); err != nil {
		t.Fatal(err)
	}
}

// contents maps the names of the files in a folder to their contents.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		out[strings.TrimPrefix(name, dir)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
