package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReport: a report is OK only if everything was checked and is as promised. All problems count, and the first are described.
func TestReport(t *testing.T) {
	good, unmade, bad := &Check{}, &Check{}, &Check{}
	unmade.CannotMake("no answer")
	for range problemsMax + 5 {
		bad.Problem("row %d", 7)
	}
	if bad.Found != problemsMax+5 || len(bad.Problems) != problemsMax || bad.Problems[0] != "row 7" {
		t.Errorf("%+v", bad)
	}
	for name, c := range map[string]struct {
		checks    []*Check
		ok, found bool
	}{
		"good":              {[]*Check{good}, true, false},
		"one not made":      {[]*Check{good, unmade}, false, false},
		"one with problems": {[]*Check{good, bad}, false, true},
	} {
		var r Report
		r.Add(c.checks...)
		if r.OK != c.ok || r.Found() != c.found {
			t.Errorf("%s: OK %v, found %v", name, r.OK, r.Found())
		}
	}
}

// TestQuarantine: an entry and the report about it count once, and a report without an entry counts as a loss.
func TestQuarantine(t *testing.T) {
	at := filepath.Join(t.TempDir(), "quarantine")
	if c := Quarantine(at); c.Checked != 0 || c.NotMade != 0 || c.Skipped != "" {
		t.Errorf("without a folder: %+v", c)
	}
	if err := os.MkdirAll(filepath.Join(at, "store-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"store-1.txt", "loss-2.txt"} {
		if err := os.WriteFile(filepath.Join(at, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c := Quarantine(at); c.Checked != 2 || c.Found != 0 || c.Losses != 1 || !strings.Contains(c.Skipped, "1 are reports of losses") {
		t.Errorf("%+v", c)
	}
}
