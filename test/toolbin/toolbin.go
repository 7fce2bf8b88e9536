// Package toolbin builds the programs from other projects that tests need. Their versions are pinned in tools/go.mod
// and in modules below tools/. A program is built once into the user's cache directory, under a name with a hash of the
// pinned versions.
package toolbin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Binary returns the path of a program. If the program is not in the cache, Binary builds it as a package of the module
// in a folder of tools/, which can take minutes.
func Binary(name, folder, pkg string) (string, error) {
	tools, err := toolsDir()
	if err != nil {
		return "", err
	}
	tools = filepath.Join(tools, folder)
	hash := sha256.New()
	sources, err := filepath.Glob(filepath.Join(tools, "*.go"))
	if err != nil {
		return "", fmt.Errorf("read the program: %w", err)
	}
	for _, name := range append(sources, filepath.Join(tools, "go.mod"), filepath.Join(tools, "go.sum")) {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read the pinned versions: %w", err)
		}
		hash.Write(text)
	}
	hash.Write([]byte(runtime.Version() + runtime.GOOS + runtime.GOARCH))
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir() // if there is no home directory, the program is built again after the next reboot
	}
	dir := filepath.Join(cache, "wayside", "tools")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create the tool cache: %w", err)
	}
	bin := filepath.Join(dir, name+"-"+hex.EncodeToString(hash.Sum(nil)[:8]))
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	return bin, buildLocked(tools, bin, pkg)
}

// buildLocked builds a program only once, even if several test processes need it at the same time.
func buildLocked(tools, bin, pkg string) error {
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(bin), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the tool cache: %w", err)
	}
	defer lock.Close() // releases the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock the tool cache: %w", err)
	}
	if _, err := os.Stat(bin); err == nil {
		return nil
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	temp := bin + ".building"
	cmd := exec.Command(goTool, "build", "-C", tools, "-trimpath", "-ldflags=-s -w", "-o", temp, pkg)
	// The program must not depend on the flags of this test's own build.
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off", "CGO_ENABLED=0", "GOOS=", "GOARCH=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out[max(0, len(out)-2000):])
	}
	if err := os.Rename(temp, bin); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}

// toolsDir finds tools/go.mod in or above the working directory, or above this source file.
func toolsDir() (string, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		starts = append(starts, filepath.Dir(file))
	}
	for _, dir := range starts {
		for {
			tools := filepath.Join(dir, "tools")
			if _, err := os.Stat(filepath.Join(tools, "go.mod")); err == nil {
				return tools, nil
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return "", errors.New("no tools/go.mod in this directory or above it: run inside the repository")
}
