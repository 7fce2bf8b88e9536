package uploader

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadOnlyDirectorySaysWhatToDo(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write anywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	target, err := newDirTarget(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	err = target.Put(context.Background(), "v1/a.ndjson.gz", strings.NewReader("x"), 1, nil)
	if err == nil || !strings.Contains(err.Error(), "writable for uid") {
		t.Fatalf("error is %v", err)
	}
}

func TestDirectoryShowsOnlyWholeObjects(t *testing.T) {
	p := directory(t)
	ctx := context.Background()
	if err := p.Put(ctx, "v1/dt=a/x.ndjson.gz", strings.NewReader("x"), 1, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"y.ndjson.gz", "x.ndjson.gz.tmp", "z.txt"} { // left behind by a crash or by a person
		if err := os.WriteFile(p.file("v1/dt=a/"+name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantKeys(t, p, "v1/", "v1/dt=a/x.ndjson.gz")
	if _, err := p.Stat(ctx, "v1/dt=a/y.ndjson.gz"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("an object without its marker: %v", err)
	}
	if err := p.Put(ctx, "../x.ndjson.gz", strings.NewReader("x"), 1, nil); err == nil {
		t.Fatal("a key leaves the directory")
	}
}

// Truncated metadata is recognized as damaged, wherever it was cut, because its last byte must be a line feed.
func TestDirectoryNoticesMetadataCutOff(t *testing.T) {
	const key = "v1/dt=a/x.ndjson.gz"
	p := directory(t)
	ctx := context.Background()
	if err := p.Put(ctx, key, strings.NewReader("x"), 1, map[string]string{MetaRows: "1"}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(p.file(key + metaSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(p.file(key+metaSuffix), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if info, err := p.Stat(ctx, key); err == nil {
			t.Fatalf("cut off at %d of %d: %+v", n, len(whole), info)
		}
	}
}

// The traffic process watches the folder v1. If a test of the archive removed it because it is still empty, wayside would report that
// someone has removed the archive.
func TestProbeLeavesTheFolderThatIsWatched(t *testing.T) {
	p := directory(t)
	if stays, err := Probe(t.Context(), p.Target, "service", "instance", time.Now()); err != nil || stays != nil {
		t.Fatal(stays, err)
	}
	var left []string
	root := p.file("")
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		left = append(left, name)
		return err
	})
	if err != nil || !slices.Equal(left, []string{root, filepath.Join(root, "v1")}) {
		t.Errorf("the archive contains %q, %v", left, err)
	}
}
