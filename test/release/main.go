// Command release checks the files of a release in dist/, which scripts/release.sh has built. It needs root on Debian, a few hundred
// megabytes of disk, and the programs that `make release-check` installs.
//
//	go run ./test/release [-dist dist] [files] [debian] [rpm] [arm64]
//
// files: the archives contain the expected files, the binaries are static, the bills of materials list exactly the modules that are
// linked, and the checksums are correct. debian: a new Debian system with a running systemd installs the package of an older commit,
// serves requests, upgrades to the new package while requests arrive, removes the package, installs it again, and purges it. rpm: the
// same steps without systemd, and without requests. arm64: the arm64 binary serves requests in an emulator.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// limit is the maximum time for everything. The emulator is slow.
const limit = 30 * time.Minute

func main() {
	runtime.LockOSThread() // the kernel stops the Debian system when the thread that started it ends
	dir := flag.String("dist", "dist", "folder with the files of the release; older/ in it has the packages of an older commit")
	flag.Parse()
	if err := run(*dir, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "release: FAILED:", err)
		os.Exit(1)
	}
}

func run(dir string, parts []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	scratch, err := os.MkdirTemp("", "wayside-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	r, err := readRelease(dir, scratch)
	if err != nil {
		return err
	}
	checks := map[string]func(context.Context, *release) error{
		"files": checkFiles, "debian": checkDebian, "rpm": checkRPM, "arm64": checkARM64,
	}
	if len(parts) == 0 {
		parts = []string{"files", "debian", "rpm", "arm64"}
	}
	for _, part := range parts {
		check, known := checks[part]
		if !known {
			return fmt.Errorf("unknown check %q: use files, debian, rpm or arm64", part)
		}
		began := time.Now()
		if err := check(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		fmt.Printf("%s: passed in %v\n", part, time.Since(began).Round(time.Second))
	}
	return nil
}

// say prints a result.
func say(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

// expectFile returns an error if a file does not have the text want.
func expectFile(name, want string) error {
	text, err := os.ReadFile(name)
	if err == nil && string(text) != want {
		err = fmt.Errorf("%s has been changed: %s", name, text)
	}
	return err
}

// output runs a command and returns its standard output without the last line break.
func output(ctx context.Context, words ...string) (string, error) {
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", strings.Join(words, " "), err, &out, &problems)
	}
	return strings.TrimSpace(out.String()), nil
}

// one returns the only file that matches a pattern.
func one(pattern ...string) (string, error) {
	names, err := filepath.Glob(filepath.Join(pattern...))
	if err == nil && len(names) != 1 {
		err = fmt.Errorf("%d files match %s, want one; run scripts/release.sh first", len(names), filepath.Join(pattern...))
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(names[0])
}
