package e2e

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/wayside-proxy/wayside/process/doctor"
	"github.com/wayside-proxy/wayside/test/s3test"
)

// patient describes what wayside doctor examines. By default, everything is in order.
type patient struct {
	dir   string
	flags map[string]string
	env   []string
	open  int // limit of descriptors; 0 means that of the test
}

// examine runs wayside doctor and returns its findings and its exit code.
func (p *patient) examine(t *testing.T) (findings []doctor.Finding, exit int) {
	t.Helper()
	args := []string{"doctor", "--output", "json"}
	for name, value := range p.flags {
		args = append(args, "--"+name, value)
	}
	binary := testBinary(t)
	cmd := exec.CommandContext(t.Context(), binary, args...)
	if p.open > 0 {
		cmd = exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", "ulimit -n " + strconv.Itoa(p.open) + `; exec "$0" "$@"`, binary}, args...)...)
	}
	cmd.Env = append(os.Environ(), p.env...)
	out, err := cmd.Output()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		exit = ended.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &findings); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return findings, exit
}

// TestDoctor examines a setup that works, and others in each of which one thing is wrong. The doctor must name that thing and say what to
// do, and no other check may fail.
func TestDoctor(t *testing.T) {
	t.Parallel()
	s3 := s3test.Start(t)
	service := origin(t)
	write := func(t *testing.T, name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, p *patient)
		check string
		state doctor.State
		found string // part of the expected text
		todo  string // part of what to do; some errors themselves say this
	}{
		"nothing wrong": {func(*testing.T, *patient) {}, "archive", doctor.OK, "written, read and listed", ""},
		"an unknown key": {func(t *testing.T, p *patient) {
			p.flags["config"] = filepath.Join(p.dir, "wayside.yaml")
			write(t, p.flags["config"], "service: a\nproxy:\n  idle_timeuot: 3s\n")
		}, "configuration", doctor.Failed, "wayside.yaml:3:3", "correct it"},
		"no upstream":                   {func(_ *testing.T, p *patient) { delete(p.flags, "upstream") }, "upstream", doctor.Failed, "no upstream is configured", "set upstream"},
		"an upstream that is down":      {func(_ *testing.T, p *patient) { p.flags["upstream"] = "http://127.0.0.1:1" }, "upstream", doctor.Failed, "connection refused", "start the service"},
		"an upstream with a wrong name": {func(_ *testing.T, p *patient) { p.flags["upstream"] = "http://app.invalid:80" }, "upstream", doctor.Failed, "app.invalid", "check the spelling"},
		"an upstream without a socket":  {func(_ *testing.T, p *patient) { p.flags["upstream"] = "unix://" + p.dir + "/none.sock" }, "upstream", doctor.Failed, "no such file", "correct the path"},
		"an upstream with an unknown certificate": {func(t *testing.T, p *patient) {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // the failed handshake is intended
			server.StartTLS()
			t.Cleanup(server.Close)
			p.flags["upstream"] = server.URL
		}, "upstream", doctor.Failed, "unknown authority", "ca_file"},
		"a taken address": {func(t *testing.T, p *patient) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
			p.flags["listen"] = ln.Addr().String()
		}, "addresses", doctor.Failed, "another process has this address", "choose another with --listen"},
		"a data directory for everyone": {func(t *testing.T, p *patient) {
			if err := errors.Join(os.Mkdir(p.flags["data"], 0o700), os.Chmod(p.flags["data"], 0o777)); err != nil {
				t.Fatal(err)
			}
		}, "data directory", doctor.Failed, "everyone can write", "chmod 0750"},
		"a read-only data directory": {func(t *testing.T, p *patient) {
			mountTmpfs(t, p.flags["data"], "size=64m")
			if err := syscall.Mount("", p.flags["data"], "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
		}, "data directory", doctor.Failed, "read-only file system", "make it writable"},
		"a data directory in memory": {func(t *testing.T, p *patient) { mountTmpfs(t, p.flags["data"], "size=64m") }, "filesystem", doctor.Warning, "tmpfs", "set data.dir to a disk"},
		"a full disk": {func(t *testing.T, p *patient) {
			mountTmpfs(t, p.flags["data"], "size=64m")
			p.env = append(p.env, "WAYSIDE_DATA_FREE_MIN=48MiB", "WAYSIDE_DATA_BYTES_MAX=1GiB")
			write(t, filepath.Join(p.flags["data"], "archive", "ballast"), strings.Repeat("x", 32<<20))
		}, "free space", doctor.Failed, "less than data.free_min", "lower data.free_min"},
		"a bucket that does not exist": {func(_ *testing.T, p *patient) {
			p.flags["archive"] = strings.Replace(s3.URL("d"), s3.Bucket, "no-such-bucket", 1)
		}, "archive", doctor.Failed, "no-such-bucket", "create the bucket"},
		"a wrong secret key":           {func(_ *testing.T, p *patient) { p.env = append(p.env, "AWS_SECRET_ACCESS_KEY=wrong") }, "archive", doctor.Failed, "SignatureDoesNotMatch", "correct the secret key"},
		"an archive that is not there": {func(_ *testing.T, p *patient) { p.flags["archive"] = "s3://b-1/p?endpoint=http://127.0.0.1:1" }, "archive", doctor.Failed, "connection refused", "correct the endpoint"},
		"an archive beside the books": {func(t *testing.T, p *patient) {
			delete(p.flags, "archive")
			write(t, filepath.Join(p.flags["data"], "lock"), "")
		}, "archive", doctor.Warning, "both are lost", "name another place"},
		"an archive below a plain file": {func(t *testing.T, p *patient) {
			write(t, filepath.Join(p.dir, "file"), "")
			p.flags["archive"] = "file://" + p.dir + "/file/archive"
		}, "configuration", doctor.Failed, "is a file, or leads through one", "correct it"},
		"few descriptors": {func(_ *testing.T, p *patient) { p.open = 512 }, "descriptors", doctor.Warning, "512 open files", "LimitNOFILE"},
		"damage that was set aside": {func(t *testing.T, p *patient) {
			write(t, filepath.Join(p.flags["data"], "quarantine", "store-1.txt"), "x")
		}, "earlier runs", doctor.Warning, "1 entries", "read the .txt files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := &patient{dir: dir, env: s3.Env(), flags: map[string]string{
				"upstream": service, "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "data": filepath.Join(dir, "data"), "archive": s3.URL("doctor/" + strings.ReplaceAll(name, " ", "-")),
				"service": "doctor", "instance": strings.ReplaceAll(name, " ", "-"),
			}}
			c.spoil(t, p)
			findings, exit := p.examine(t)
			if want := map[bool]int{true: 1}[c.state == doctor.Failed]; exit != want {
				t.Errorf("exit %d, want %d", exit, want)
			}
			named := false
			for _, f := range findings {
				if strings.Contains(f.Found, "\n") {
					t.Errorf("more than one line: %+v", f)
				}
				if f.Check == c.check && f.State == c.state && strings.Contains(f.Found, c.found) && strings.Contains(f.Found+"; "+f.Advice, c.todo) {
					named = true
				} else if f.State == doctor.Failed {
					t.Errorf("%+v", f)
				}
			}
			if !named {
				t.Errorf("no finding %q %q with %q and %q: %+v", c.check, c.state, c.found, c.todo, findings)
			}
		})
	}
}

// TestDoctorBesideARun examines a setup that is in use, and checks that doctor leaves nothing behind.
func TestDoctorBesideARun(t *testing.T) {
	t.Parallel()
	service, archive := origin(t), "file://"+t.TempDir()
	w, _ := newWayside(t, service, "--archive", archive)
	start(t, w)
	send(t, w, 10, 200)
	if _, err := w.AwaitSettled(t.Context()); err != nil { // the books process is running
		t.Fatal(err)
	}
	if _, err := w.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil { // the run's own test of its archive is over, too
		t.Fatal(err)
	}
	for name, p := range map[string]*patient{
		"with its flags":     {flags: map[string]string{"upstream": service, "archive": archive, "listen": w.Listen, "data": w.DataDir}},
		"only the directory": {flags: map[string]string{"data": w.DataDir}},
	} {
		findings, exit := p.examine(t)
		if exit != 0 || doctor.AnyFailed(findings) {
			t.Errorf("%s: exit %d: %+v", name, exit, findings)
		}
		for check, found := range map[string]string{"upstream": service, "archive": archive} {
			if !slices.ContainsFunc(findings, func(f doctor.Finding) bool {
				return f.Check == check && f.State == doctor.OK && strings.Contains(f.Found, found)
			}) {
				t.Errorf("%s: no %s %s in %+v", name, check, found, findings)
			}
		}
	}
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(w.DataDir, ".doctor*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
}
