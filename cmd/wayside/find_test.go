package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// TestNotReady: wayside health names a default address only if something listens there.
func TestNotReady(t *testing.T) {
	refused := fmt.Errorf("nothing answers: %w", syscall.ECONNREFUSED)
	standard := "http://" + configs.Default().Admin.Listen
	for name, c := range map[string]struct {
		why, silent error
		address     string
		want        string
	}{
		"the default address":     {datadir.ErrNotRunning, refused, standard, datadir.ErrNotRunning.Error()},
		"a configured address":    {datadir.ErrNotRunning, refused, "http://127.0.0.1:1", datadir.ErrNotRunning.Error() + "\n" + refused.Error()},
		"something listens there": {datadir.ErrNotRunning, errNotHealthy, standard, datadir.ErrNotRunning.Error() + "\n" + errNotHealthy.Error()},
		"a run that was found":    {nil, refused, standard, refused.Error()},
	} {
		if err := notReady(c.why, c.silent, c.address); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNotFoundSaysHow: a command that finds no wayside says how to name one, and whether the directory exists.
func TestNotFoundSaysHow(t *testing.T) {
	empty, none := t.TempDir(), filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"top"}, {"tail"}, {"reload"}} {
		said := command(t, exitFailure, append(args, "--data", empty)...)
		if !strings.Contains(said, "no wayside run is using this data directory: "+empty+"; name it with --data DIR or --admin URL") {
			t.Errorf("%v: %s", args, said)
		}
	}
	t.Run("health", func(t *testing.T) { // the reason comes before the address that was tried next
		t.Setenv("WAYSIDE_ADMIN_LISTEN", "127.0.0.1:1")
		said := command(t, exitFailure, "health", "--data", empty)
		if why, tried := strings.Index(said, "no wayside run is using"), strings.Index(said, "nothing is listening at"); why < 0 || tried < why {
			t.Error(said)
		}
	})
	for _, args := range [][]string{
		{"top"},
		{"tail"},
		{"reload"},
		{"health"},
		{"verify"},
		{"job", "report"},
		{"job", "archive"},
		{"forget", "/a", "--yes"},
		{"collect"},
		{"archive", "ls"},
		{"archive", "verify"},
		{"archive", "cat"},
		{"archive", "rebuild"},
		{"archive", "serve"},
	} {
		t.Setenv("WAYSIDE_ADMIN_LISTEN", "127.0.0.1:1") // without a listener
		said := command(t, exitFailure, append(args, "--data", none)...)
		if !strings.Contains(said, none+" does not exist; name it with --data DIR") || strings.Contains(said, "no such file") {
			t.Errorf("%v: %s", args, said)
		}
		if _, err := os.Stat(none); err == nil {
			t.Fatalf("%v made the directory", args)
		}
	}
}
