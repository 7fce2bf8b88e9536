package main

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// exits is the script command "exits CODE ARGS…": it runs "wayside ARGS" and checks the exit code. Output goes to the files stdout and
// stderr.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	path, err := exec.LookPath("wayside")
	if err != nil {
		for _, dir := range strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator)) {
			if _, statErr := os.Stat(dir + "/wayside"); statErr == nil {
				path, err = dir+"/wayside", nil
				break
			}
		}
	}
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"PATH", "HOME", "WORK", "WAYSIDE_UPSTREAM", "WAYSIDE_ARCHIVE_AFTER", "WAYSIDE_ARCHVE_AFTER"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	ts.Check(os.WriteFile(ts.MkAbs("stdout"), stdout.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("stderr"), stderr.Bytes(), 0o600))
	got := cmd.ProcessState.ExitCode()
	if got != want {
		ts.Fatalf("exit code %d, want %d (%v)\n%s%s", got, want, runErr, stdout.String(), stderr.String())
	}
}
