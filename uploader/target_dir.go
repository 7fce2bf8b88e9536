package uploader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wayside-proxy/wayside/internal/disk"
)

const (
	objectSuffix = ".ndjson.gz"
	metaSuffix   = ".json"
	tempSuffix   = ".tmp"
)

// dirTarget keeps objects as files. The metadata file is the commit marker: it is written after the object is durable,
// and removed before the object changes.
type dirTarget struct {
	root, name string
}

func newDirTarget(dir, dataDir string) (*dirTarget, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrTargetURL, dir, err)
	}
	return &dirTarget{root: abs, name: dirName(abs, dataDir)}, nil
}

func (t *dirTarget) String() string    { return "file://" + t.root }
func (t *dirTarget) Name() string      { return t.name }
func (t *dirTarget) MetaBytesMax() int { return 0 }

func (t *dirTarget) path(key string) (string, error) {
	local := filepath.FromSlash(key)
	if !filepath.IsLocal(local) {
		return "", fmt.Errorf("archive key %q is outside the directory", key)
	}
	return filepath.Join(t.root, local), nil
}

func (t *dirTarget) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, meta map[string]string) error {
	name, err := t.path(key)
	if err != nil {
		return err
	}
	if err := mkdirSynced(filepath.Dir(name)); err != nil {
		return dirHint(fmt.Errorf("create the folder of %s: %w", key, err))
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind %s: %w", key, err)
	}
	if err := os.Remove(name + metaSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return dirHint(fmt.Errorf("replace %s: %w", key, err))
	}
	counted := &io.LimitedReader{R: ctxReader{ctx, body}, N: size + 1}
	if err := writeSynced(name, counted); err != nil {
		return dirHint(fmt.Errorf("write %s: %w", key, err))
	}
	if counted.N != 1 {
		return fmt.Errorf("write %s: the body does not have %d bytes", key, size)
	}
	text, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return fmt.Errorf("write metadata of %s: %w", key, err)
	}
	if err := writeSynced(name+metaSuffix, strings.NewReader(string(text)+"\n")); err != nil {
		return dirHint(fmt.Errorf("write metadata of %s: %w", key, err))
	}
	return nil
}

func (t *dirTarget) Get(_ context.Context, key string) (io.ReadCloser, map[string]string, error) {
	name, err := t.path(key)
	if err != nil {
		return nil, nil, err
	}
	meta, err := readMeta(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", key, err)
	}
	f, err := openRegular(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", key, notFound(err))
	}
	return f, meta, nil
}

func (t *dirTarget) Stat(_ context.Context, key string) (ObjectInfo, error) {
	name, err := t.path(key)
	if err != nil {
		return ObjectInfo{}, err
	}
	meta, err := readMeta(name)
	if err != nil {
		return ObjectInfo{}, fmt.Errorf("look up %s: %w", key, err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return ObjectInfo{}, fmt.Errorf("look up %s: %w", key, notFound(err))
	}
	return ObjectInfo{Key: key, Size: info.Size(), Meta: meta}, nil
}

// Delete removes the marker first. If wayside stops after that, readers ignore the remaining file, and the next call removes it. Delete
// also removes folders that have become empty, except for "v1": the traffic process watches that folder, and would report that someone
// has removed the archive.
func (t *dirTarget) Delete(_ context.Context, key string) error {
	name, err := t.path(key)
	if err != nil {
		return err
	}
	for _, file := range []string{name + metaSuffix, name} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return dirHint(fmt.Errorf("delete %s: %w", key, err))
		}
	}
	for dir, n := filepath.Dir(name), 0; n < 2 && filepath.Dir(dir) != t.root; dir, n = filepath.Dir(dir), n+1 {
		_ = os.Remove(dir) // fails if the folder is not empty
	}
	return nil
}

// removeProbe deletes the object that was written to test the archive.
func (t *dirTarget) removeProbe(ctx context.Context, key string) error { return t.Delete(ctx, key) }

func (t *dirTarget) List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error {
	// Only the folder that contains the last element of the prefix has to be read.
	start, err := t.path(prefix[:strings.LastIndexByte(prefix, '/')+1] + ".")
	if err != nil {
		return err
	}
	err = filepath.WalkDir(start, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // nothing has been archived yet, or the file has been removed in the meantime
			}
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !d.Type().IsRegular() || !strings.HasSuffix(name, objectSuffix) {
			return nil
		}
		rel, err := filepath.Rel(t.root, name)
		if err != nil {
			return err
		}
		key := filepath.ToSlash(rel)
		if !strings.HasPrefix(key, prefix) {
			return nil
		}
		if _, err := os.Stat(name + metaSuffix); errors.Is(err, fs.ErrNotExist) {
			return nil // the object is still being written
		}
		info, err := d.Info()
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		return fn(ObjectInfo{Key: key, Size: info.Size()})
	})
	if err != nil {
		return dirHint(fmt.Errorf("list %s: %w", t, err))
	}
	return nil
}

// metaFileMax limits the size of a metadata file. Only its runs can be long.
const metaFileMax = 1 << 20

// openRegular opens a regular file. Reading anything else could hang or never end.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(Damagedf("%s is not a file", filepath.Base(name)), err, f.Close())
	}
	return f, nil
}

func readMeta(name string) (map[string]string, error) {
	f, err := openRegular(name + metaSuffix)
	if err != nil {
		return nil, notFound(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, metaFileMax+1))
	if err != nil {
		return nil, dirHint(err)
	}
	if len(text) > metaFileMax {
		return nil, Damagedf("metadata file %s is larger than %d bytes", filepath.Base(name)+metaSuffix, metaFileMax)
	}
	var meta map[string]string
	if err = json.Unmarshal(text, &meta); err == nil && !bytes.HasSuffix(text, []byte("\n")) {
		err = io.ErrUnexpectedEOF // the JSON is complete, but the file was truncated
	}
	if err != nil {
		return nil, Damagedf("metadata file %s is damaged: %w", filepath.Base(name)+metaSuffix, err)
	}
	return meta, nil
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (%w)", ErrNotFound, err)
	}
	return dirHint(err)
}

// writeSynced replaces a file. The name of the temporary file is always the same, and prune removes that file after the process has died.
// The permissions allow a group to read the archive.
func writeSynced(name string, content io.Reader) error {
	return disk.WriteFile(name, name+tempSuffix, content, 0o640)
}

// mkdirSynced creates a directory with its parents, and makes each new name durable.
func mkdirSynced(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("is a file")}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := mkdirSynced(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return disk.SyncDir(parent)
}

// dirHint adds to the error of an unusable directory a hint about what the operator can do.
func dirHint(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (the directory must be writable for uid %d: change its owner or set archive to another one)", err, os.Getuid())
	}
	return err
}

// ctxReader stops reading when ctx is done.
type ctxReader struct {
	ctx context.Context // used for a single copy
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
