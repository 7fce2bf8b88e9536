package e2e

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/s3test"
)

// archiveCommand runs a command in a folder without a data directory. Its environment contains credentials, but nothing that
// names an archive.
func archiveCommand(t *testing.T, w *Wayside, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.Binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir}, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	return code, stdout.String(), stderr.String()
}

// archives returns the kinds of targets. address is the value for --archive.
func archives(t *testing.T) map[string]func() (address string, env []string) {
	return map[string]func() (string, []string){
		"directory": func() (string, []string) { return "file://" + filepath.Join(t.TempDir(), "elsewhere"), nil },
		"S3": func() (string, []string) {
			server := s3test.Start(t)
			return server.URL("{service}/{instance}"), server.Env()
		},
	}
}

// TestArchiveCommandsFindTheArchive checks that ls, verify, cat, restore and rebuild read the right archive when it is
// named by the URL of a running wayside, by the data directory of a running, a stopped or a killed one, or by its own
// address.
func TestArchiveCommandsFindTheArchive(t *testing.T) {
	t.Parallel()
	for kind, open := range archives(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const responses = 200
			address, env := open()
			w, _ := newWayside(t, origin(t))
			w.Args = append(w.Args, "--archive", address, "--service", "shop", "--instance", "a_b")
			w.Env = append(w.Env, env...)
			start(t, w)
			send(t, w, responses, 200)
			if _, err := w.AwaitSettled(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil {
				t.Fatal(err)
			}
			expanded := strings.NewReplacer("{service}", "shop", "{instance}", "a%255Fb").Replace(address)
			check := func(source string, find ...string) {
				t.Helper()
				for name, want := range map[string]string{
					"ls": " object", "verify": "all as it should be", "cat": "", "restore": " 200 rows", "rebuild": " 200 responses",
				} {
					args := append([]string{"archive", name}, find...)
					if name == "restore" || name == "rebuild" {
						args = append(args, "--into", filepath.Join(t.TempDir(), "into"))
					}
					code, out, errs := archiveCommand(t, w, env, args...)
					if code != 0 || !strings.Contains(out, want) || strings.Contains(out, " 0 objects") || strings.HasPrefix(out, "0 objects") {
						t.Errorf("%s: %v: exit %d\n%s%s", source, args, code, out, errs)
					}
					if name == "cat" && strings.Count(out, "\n") != responses {
						t.Errorf("%s: cat printed %d lines\n%s", source, strings.Count(out, "\n"), errs)
					}
				}
			}
			check("a running wayside", "--admin", w.Info().Admin)
			check("the directory of a running one", "--data", w.DataDir)
			check("the archive's address", "--bucket", expanded)
			check("the archive's address, with =", "--bucket="+expanded)
			check("the archive's address by the older flag", "--archive", expanded, "--bucket")
			if err := w.Stop(40 * time.Second); err != nil {
				t.Fatal(err)
			}
			check("the directory of a stopped one", "--data", w.DataDir)
			start(t, w)
			eventually(t, "the books process starts", func() bool { return w.BooksPID() > 0 })
			w.KillBooks()
			w.Kill()
			check("the directory of a killed one", "--data", w.DataDir)
		})
	}
}

// TestJobsUseTheConfigurationOfTheLastRun kills both processes with SIGKILL and runs a job without settings. The job
// must archive to the archive of the last run. It must refuse if the environment names another archive, and accept one
// that a flag names. The stored configuration must contain no secrets.
func TestJobsUseTheConfigurationOfTheLastRun(t *testing.T) {
	t.Parallel()
	for kind, open := range archives(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			address, env := open()
			w, _ := newWayside(t, origin(t))
			w.Args = append(w.Args, "--archive", address, "--service", "shop", "--instance", "a_b")
			w.Env = append(w.Env, env...)
			w.Env = append(w.Env, "WAYSIDE_ARCHIVE_AFTER=1h", "WAYSIDE_RETENTION_EVENTS=99h")
			start(t, w)
			send(t, w, 100, 200)
			if _, err := w.AwaitSettled(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.KillBooks()
			w.Kill()

			text, err := os.ReadFile(filepath.Join(w.DataDir, "last-config.json"))
			info, err2 := os.Stat(filepath.Join(w.DataDir, "last-config.json"))
			if err != nil || err2 != nil || info.Mode().Perm() != 0o600 || !strings.Contains(string(text), `"retention.events": "99h`) {
				t.Fatalf("%s %v %v %v", text, info.Mode(), err, err2)
			}
			for _, setting := range env {
				if name, value, _ := strings.Cut(setting, "="); strings.Contains(name, "KEY") && strings.Contains(string(text), value) {
					t.Errorf("the stored configuration contains %s", name)
				}
			}
			job := []string{"job", "archive", "--all", "--data", w.DataDir}
			code, out, errs := archiveCommand(t, w, append(env, "WAYSIDE_ARCHIVE_URL=s3://another"), job...)
			if code != 2 || !strings.Contains(errs, "was last run with the archive "+strings.Split(address, "{")[0]) || !strings.Contains(errs, "WAYSIDE_ARCHIVE_URL") {
				t.Fatalf("another archive in the environment: exit %d\n%s%s", code, out, errs)
			}
			code, out, errs = archiveCommand(t, w, env, job...)
			if code != 0 || !strings.Contains(out, " 100 rows") || !strings.Contains(errs, "archive: "+strings.Split(address, "{")[0]) {
				t.Fatalf("exit %d\n%s%s", code, out, errs)
			}
			if _, err := os.Stat(filepath.Join(w.DataDir, "archive")); err == nil {
				t.Error("the job archived into the data directory")
			}
			if code, out, errs := archiveCommand(t, w, env, "archive", "cat", "--data", w.DataDir); code != 0 || strings.Count(out, "\n") != 100 {
				t.Errorf("cat: exit %d, %d lines\n%s", code, strings.Count(out, "\n"), errs)
			}
			elsewhere := "file://" + filepath.Join(t.TempDir(), "named")
			code, out, errs = archiveCommand(t, w, append(env, "WAYSIDE_ARCHIVE_URL=s3://another"), append(job, "--archive", elsewhere)...)
			if code != 0 || !strings.Contains(errs, "archive: "+elsewhere) {
				t.Errorf("a flag: exit %d\n%s%s", code, out, errs)
			}
		})
	}
}
