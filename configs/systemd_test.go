package configs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemdUnit lets systemd check the unit, although the commands in it are not installed.
func TestSystemdUnit(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED, NOT PROVEN: systemd-analyze is not installed (Debian: apt-get install systemd)")
	}
	text, err := os.ReadFile("wayside.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(text)
	for _, command := range []string{"ExecStart=/usr/local/bin/wayside run ", "ExecReload=/usr/local/bin/wayside reload "} {
		if strings.Count(unit, command) != 1 {
			t.Fatalf("the unit has no %q", command)
		}
		what, _, _ := strings.Cut(command, "=")
		unit = strings.Replace(unit, command, what+"=/bin/true ", 1)
	}
	name := filepath.Join(t.TempDir(), "wayside.service")
	if err := os.WriteFile(name, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "verify", "--man=no", name).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "wayside.service") {
			t.Error(strings.TrimSpace(line))
		}
	}
	if err != nil && len(out) == 0 {
		t.Error(err)
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
