package configs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemdUnit has systemd check the unit, whose command is not installed here.
func TestSystemdUnit(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED, NOT PROVEN: systemd-analyze is not installed (Debian: apt-get install systemd)")
	}
	text, err := os.ReadFile("wayside.service")
	if err != nil {
		t.Fatal(err)
	}
	const command = "ExecStart=/usr/local/bin/wayside run "
	unit := strings.Replace(string(text), command, "ExecStart=/bin/true ", 1)
	if unit == string(text) {
		t.Fatalf("the unit has no %q", command)
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
