package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A link under a name that wayside opens is rejected, whatever it points to, and its target is not changed.
func TestLinksAreRefused(t *testing.T) {
	for _, name := range []string{
		RunLock, CollectLock, RunFile, RunFile + ".new", CrashFile, SpoolDir, StoreDir, StoreDir + ".lock", StoreDir + ".ledgers", Quarantine, ArchiveDir,
		SpoolDir + "/0190-epoch", SpoolDir + "/0190-epoch/ledger", StoreDir + "/MANIFEST", StoreDir + ".condemned", Quarantine + "/x", ArchiveDir + "/v1",
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir, victim := filepath.Join(top, "data"), filepath.Join(top, "victim")
			if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(link), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(victim, link); err != nil {
				t.Fatal(err)
			}
			for _, lock := range []string{RunLock, CollectLock} {
				l, err := Acquire(dir, lock)
				if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), link) {
					t.Errorf("%s: %v", lock, err)
				}
				_ = l.Release()
			}
			if err := Create(dir); !errors.Is(err, ErrUnsafe) {
				t.Error(err)
			}
			if strings.HasPrefix(name, RunFile) {
				_ = WriteInfo(dir, Info{})
			}
			if text, err := os.ReadFile(victim); string(text) != "precious" {
				t.Errorf("the victim is %q, %v", text, err)
			}
			if err := os.Remove(victim); err != nil { // the link now points to nothing, and nothing must be created there
				t.Fatal(err)
			}
			for _, lock := range []string{RunLock, CollectLock} {
				l, err := Acquire(dir, lock)
				if !errors.Is(err, ErrUnsafe) && !strings.HasPrefix(name, RunFile) {
					t.Errorf("%s: %v", lock, err)
				}
				_ = l.Release()
			}
			if _, err := os.Lstat(victim); err == nil {
				t.Error("the victim was made")
			}
		})
	}
}

// A file that has a second name elsewhere is locked or replaced, but never written to.
func TestHardLinksAreNotWrittenTo(t *testing.T) {
	for _, name := range []string{RunLock, CollectLock, RunFile, RunFile + ".new", ConfigFile, ConfigFile + ".new"} {
		top := t.TempDir()
		dir, victim := filepath.Join(top, "data"), filepath.Join(top, "victim")
		if err := errors.Join(os.Mkdir(dir, 0o750), os.WriteFile(victim, []byte("precious"), 0o600), os.Link(victim, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
		for _, lock := range []string{RunLock, CollectLock} {
			l, err := Acquire(dir, lock)
			if err != nil {
				t.Error(err)
			}
			_ = l.Release()
		}
		if err := errors.Join(WriteInfo(dir, Info{}), WriteConfig(dir, Config{})); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(victim); string(text) != "precious" {
			t.Errorf("%s: the victim is %q, %v", name, text, err)
		}
	}
}

// Entries that wayside does not open are not checked.
func TestOtherNamesAreNotLookedAt(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Symlink("/nowhere", filepath.Join(dir, "notes")), Create(dir)); err != nil {
		t.Error(err)
	}
}

func TestPipesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, RunFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(dir); !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "neither a file nor a folder") {
		t.Error(err)
	}
}

// A directory that others can write to is rejected, even if it belongs to root and has the sticky bit. The top of a
// volume is accepted.
func TestWritableForOthers(t *testing.T) {
	mode := func(mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	asRoot := func(then func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if os.Getuid() != 0 {
				t.Skip("SKIPPED, needs root")
			}
			then(t, dir)
		}
	}
	chown := func(uid, gid int) func(*testing.T, string) {
		return asRoot(func(t *testing.T, dir string) {
			if err := errors.Join(os.Chown(dir, uid, gid), os.Chmod(dir, 0o770)); err != nil {
				t.Fatal(err)
			}
		})
	}
	for name, c := range map[string]struct {
		make func(*testing.T, string)
		safe bool
	}{
		"own":                {mode(0o750), true},
		"everyone reads":     {mode(0o755), true},
		"own group":          {mode(0o770), true},
		"everyone":           {mode(0o777), false},
		"everyone, sticky":   {mode(0o777 | os.ModeSticky), false},
		"somebody's":         {chown(4711, 0), false},
		"somebody's group":   {chown(0, 4711), false},
		"a folder in it":     {func(t *testing.T, dir string) { mode(0o777)(t, mkdir(t, filepath.Join(dir, StoreDir))) }, false},
		"a volume, everyone": {asRoot(func(t *testing.T, dir string) { mountAt(t, dir, "mode=0777") }), true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			mkdir(t, dir)
			c.make(t, dir)
			if err := Create(dir); (err == nil) != c.safe || err != nil && !errors.Is(err, ErrUnsafe) {
				t.Error(err)
			}
		})
	}
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mountAt(t *testing.T, dir, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("SKIPPED, cannot mount tmpfs here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}
