package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestDemoAddsUp runs the demo and compares its four figures.
func TestDemoAddsUp(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(testBinary(t), "demo", "--requests", "3000", "--output", "json").Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var summary struct {
		Sent, Recorded, Aggregated, Archived uint64
	}
	if err := json.Unmarshal(out, &summary); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if s := summary; s.Sent != 3000 || s.Recorded != 3000 || s.Aggregated != 3000 || s.Archived != 3000 {
		t.Errorf("%+v", s)
	}
}

// TestDemoSeesOneEventMissing removes one event on its way to the spool. The demo must notice it.
func TestDemoSeesOneEventMissing(t *testing.T) {
	t.Parallel()
	lossy, err := Build(t.Context(), t.TempDir(), "-tags", "faults")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(lossy, "demo", "--requests", "500", "--settle-timeout", "3s")
	cmd.Env = append(os.Environ(), "WAYSIDE_FAULT_LOSE=77")
	out, err := cmd.CombinedOutput()
	if code := exitCode(err); code != 1 || !strings.Contains(string(out), "499") {
		t.Errorf("exit %d\n%s", code, out)
	}
	cmd = exec.Command(lossy, "demo", "--requests", "500")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nothing was removed, but the demo failed: %v\n%s", err, out)
	}
}
