package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestBelievePage runs the commands of docs/BELIEVE.md, in order and in one folder, and looks for the lines that the page shows. The commands
// for the repository must exist.
func TestBelievePage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/BELIEVE.md")
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(testBinary(t), filepath.Join(bin, "wayside")); err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```\n```text\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != strings.Count(string(text), "```sh\n") || len(blocks) == 0 {
		t.Fatalf("%d blocks of commands with their output, of %d", len(blocks), strings.Count(string(text), "```sh\n"))
	}
	for _, b := range blocks {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", b[1])
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v\n%s", b[1], err, out)
		}
		for line := range strings.Lines(b[2]) {
			pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(line)), "…", ".*")
			if !regexp.MustCompile(`(?m)^\s*` + pattern).Match(out) {
				t.Errorf("%s: no line like %q in\n%s", b[1], line, out)
			}
		}
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range regexp.MustCompile("`make ([a-z0-9-]+)").FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(string(makefile), "\n"+target[1]+":") {
			t.Errorf("there is no make %s", target[1])
		}
	}
	for _, folder := range regexp.MustCompile("`go run ./([a-z/]+)").FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join("../..", folder[1], "main.go")); err != nil {
			t.Error(err)
		}
	}
}
