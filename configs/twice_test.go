package configs

import (
	"strings"
	"testing"
)

// TestVariablesOfOneKey: the variable for a key and the one for its shorthand must agree.
func TestVariablesOfOneKey(t *testing.T) {
	same := LoadOptions{Environ: []string{"WAYSIDE_DATA=/d", "WAYSIDE_DATA_DIR=/d", "WAYSIDE_DEFAULT_DATA=/other"}}
	if c, err := Load(same); err != nil || c.Data.Dir != "/d" {
		t.Errorf("%v, %v", c, err)
	}
	for _, environ := range [][]string{{"WAYSIDE_DATA=/d", "WAYSIDE_DATA_DIR=/e"}, {"WAYSIDE_ARCHIVE=file:///a", "WAYSIDE_ARCHIVE_URL=file:///b"}} {
		_, err := Load(LoadOptions{Environ: environ})
		for _, setting := range environ {
			if name, _, _ := strings.Cut(setting, "="); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%q: %v", environ, err)
			}
		}
	}
}

// TestAliasInAList: an alias in a list is replaced with its value.
func TestAliasInAList(t *testing.T) {
	file := writeFile(t, "admin:\n  listen: &a 127.0.0.1:8099\n  hosts: [&h wayside.example.com, *h]\n")
	c, err := Load(LoadOptions{File: file})
	if err != nil || len(c.Admin.Hosts) != 2 || c.Admin.Hosts[1] != "wayside.example.com" {
		t.Errorf("%v, %v", c, err)
	}
}

// TestWholeDays: long durations are printed in days.
func TestWholeDays(t *testing.T) {
	for text, want := range map[string]string{"720h": "30d", "72h": "72h", "168h": "7d", "169h": "169h", "24h": "24h", "0": "0s"} {
		d, err := ParseDuration(text)
		if err != nil || d.String() != want {
			t.Errorf("%s is written %s, %v; want %s", text, d, err, want)
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%s is read back as %v, %v", d, again, err)
		}
	}
}
