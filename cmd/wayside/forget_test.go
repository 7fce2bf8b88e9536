package main

import (
	"strings"
	"testing"
)

// TestForgetSaysWhatItFound: that nothing matched is said, and that objects which hold it could be written again.
func TestForgetSaysWhatItFound(t *testing.T) {
	dir := archived(t, "")
	const again = "--archive writes objects again whose events are all still in the store"
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
