package configs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testUnits writes the units to a directory, with commands that exist on every machine. It returns the paths of systemd-analyze and of the directory.
func testUnits(t *testing.T) (tool, dir string) {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED, NOT PROVEN: systemd-analyze is not installed (Debian: apt-get install systemd)")
	}
	dir = t.TempDir()
	for _, name := range []string{"wayside.service", "wayside.socket"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		unit := string(text)
		if name == "wayside.service" {
			for _, command := range []string{"ExecStart=/usr/local/bin/wayside run ", "ExecReload=/usr/local/bin/wayside reload "} {
				if strings.Count(unit, command) != 1 {
					t.Fatalf("the unit has no %q", command)
				}
				what, _, _ := strings.Cut(command, "=")
				unit = strings.Replace(unit, command, what+"=/bin/true ", 1)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tool, dir
}

// TestSystemdUnit lets systemd check the units, although the commands in them are not installed.
func TestSystemdUnit(t *testing.T) {
	tool, dir := testUnits(t)
	for _, name := range []string{"wayside.service", "wayside.socket"} {
		out, err := exec.Command(tool, "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "wayside.") {
				t.Error(strings.TrimSpace(line))
			}
		}
		if err != nil && len(out) == 0 {
			t.Error(err)
		}
	}
}

// TestSystemdSandbox: systemd rates the exposure of a service from 0 (none) to 10; the threshold is in tenths. Without the directives of the
// sandbox, the rating would be 9.2.
func TestSystemdSandbox(t *testing.T) {
	tool, dir := testUnits(t)
	out, err := exec.Command(tool, "security", "--offline=yes", "--threshold=20", filepath.Join(dir, "wayside.service")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSystemdRestartsForEver: with Restart= alone, systemd would give up after five failures.
func TestSystemdRestartsForEver(t *testing.T) {
	text, err := os.ReadFile("wayside.service")
	if err != nil {
		t.Fatal(err)
	}
	unit, rest, _ := strings.Cut(string(text), "\n[Service]\n")
	if !strings.Contains(unit, "\nStartLimitIntervalSec=0\n") || !strings.Contains(rest, "\nRestart=always\n") {
		t.Error("want Restart=always in [Service] and StartLimitIntervalSec=0 in [Unit]")
	}
}
