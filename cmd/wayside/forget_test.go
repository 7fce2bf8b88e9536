package main

import (
	"strings"
	"testing"
)

// TestForgetSaysWhatItFound: forget says whether anything matched, and whether archive objects could be rewritten.
func TestForgetSaysWhatItFound(t *testing.T) {
	dir := archived(t, "")
	const again = "--archive rewrites those objects whose events are all still in the store"
	if said := command(t, exitOK, "forget", "/nope", "--yes", "--data", dir); !strings.Contains(said, "nothing matched; forgotten: 0 rows") || strings.Contains(said, again) {
		t.Error(said)
	}
	if said := command(t, exitOK, "forget", "/users/*", "--dry-run", "--data", dir); strings.Contains(said, "nothing matched") || !strings.Contains(said, again) {
		t.Error(said)
	}
	if said := command(t, exitOK, "forget", "/users/*", "--dry-run", "--archive", "--data", dir); strings.Contains(said, again) {
		t.Error(said)
	}
}
