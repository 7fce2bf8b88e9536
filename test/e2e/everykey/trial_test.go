package everykey

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/testlog"
)

// atOnce is the number of cases that run at the same time: each mostly waits for the disk and for the books process.
const atOnce = 6

// hang limits every wait, so that the test cannot hang. On an idle machine, each wait takes a fraction of a second.
const hang = time.Minute

// base is the configuration of every case. Short intervals make the cases fast.
var base = map[string]string{
	"listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0", "upstream": "$ORIGIN", "data.dir": "$DIR/data",
	"collector.drain_interval": "20ms", "spool.commit_interval": "10ms", "data.free_min": "1MiB",
}

var (
	buildOnce sync.Once
	binaryDir string
	binary    string
	buildErr  error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir) // the binary's own folder is not removed, because all test packages may share it
	}
	os.Exit(code)
}

// built builds wayside without the race detector, because the tests start hundreds of processes.
func built(t *testing.T) string {
	t.Helper()
	buildOnce.Do(func() {
		if binaryDir, buildErr = os.MkdirTemp("", "wayside-bin-"); buildErr == nil { //nolint:usetesting // lives longer than the test
			binary, buildErr = e2e.Build(context.Background(), binaryDir)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return binary
}

var (
	serverOnce sync.Once
	server     *certtest.Issued // a certificate with its key
	secure     *tls.Config      // of a client that trusts it, and that has a certificate of its own
	authority  *certtest.CA     // of both certificates
)

func hostname(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func origin(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(server.Close)
	return server.URL
}

// trial is one configuration in its own folder.
type trial struct {
	t              *testing.T
	name           string
	dir, file      string
	key, value     string // key under test; empty if the case is about several keys
	origin         string
	settings       map[string]string // the contents of the file
	mustBe         outcome
	stdout, stderr bytes.Buffer
	log            testlog.Buffer // instead of stderr, if it is read while the process runs
}

type outcome int

const (
	either outcome = iota
	accepted
	refused
)

func newTrial(t *testing.T, origin, name string, settings ...string) *trial {
	t.Helper()
	dir, err := os.MkdirTemp("", "wayside-edge-") //nolint:usetesting // removed at the end of its case, because there are hundreds
	if err != nil {
		t.Fatal(err)
	}
	c := &trial{t: t, name: name, dir: dir, file: filepath.Join(dir, "edge.yaml"), origin: origin, settings: map[string]string{}}
	for key, value := range base {
		c.settings[key] = value
	}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, ": ")
		c.settings[key] = value
	}
	for key, value := range c.settings {
		c.settings[key] = place(t, dir, origin, value)
	}
	serverOnce.Do(func() {
		authority = certtest.NewCA(t, "everykey")
		server = authority.Issue(t, certtest.Leaf{Names: []string{"localhost"}, For: 90 * 24 * time.Hour})
		client := authority.Issue(t, certtest.Leaf{Common: "client", Client: true})
		secure = &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{client.TLS}}
	})
	server.Write(t, dir, "server")
	server.Write(t, dir, "server2")
	for name, content := range map[string]string{"key": "AKIAEXAMPLE\n", "token": "a-token-of-a-test\n", "fields": "Authorization: Bearer a\n\nX-Scope-OrgID: b\n", "ca.pem": string(authority.PEM())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "users"), []byte(userLine), 0o600); err != nil {
		t.Fatal(err)
	}
	c.write()
	return c
}

// userLine is a user with a bcrypt hash.
const userLine = "bob:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n"

// write writes the configuration file. Keys of the same section are together, and values are written unchanged.
func (c *trial) write() {
	c.t.Helper()
	type section map[string]any
	root := section{}
	for path, value := range c.settings {
		parts := strings.Split(path, ".")
		at := root
		for _, name := range parts[:len(parts)-1] {
			if at[name] == nil {
				at[name] = section{}
			}
			at = at[name].(section)
		}
		at[parts[len(parts)-1]] = value
	}
	var out strings.Builder
	var render func(s section, indent string)
	render = func(s section, indent string) {
		names := make([]string, 0, len(s))
		for name := range s {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if below, ok := s[name].(section); ok {
				fmt.Fprintf(&out, "%s%s:\n", indent, name)
				render(below, indent+"  ")
				continue
			}
			fmt.Fprintf(&out, "%s%s: %s\n", indent, name, s[name])
		}
	}
	render(root, "")
	if err := os.WriteFile(c.file, []byte(out.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *trial) errorf(format string, args ...any) {
	c.t.Errorf("%s: %s", c.name, fmt.Sprintf(format, args...))
}

// command runs a command of the binary until it ends.
func (c *trial) command(env []string, args ...string) (code int, output string) {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = c.dir, append(environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return -1, err.Error()
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// environ returns the environment of the test without the variables that configure wayside.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "WAYSIDE_") })
}

// run runs the whole case: the real process must either exit with 78 and a position, or serve and keep the books.
func (c *trial) run() {
	defer c.remove()
	cmd := exec.Command(binary, "run", "--config", c.file)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, environ(), &c.stdout, &c.stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		c.errorf("%v", err)
		return
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	info, running := c.started(cmd.Process.Pid, ended)
	if !running {
		c.refused(cmd.ProcessState.ExitCode(), c.stderr.String())
		return
	}
	if c.mustBe == refused {
		c.errorf("wayside accepts it")
	}
	c.serves(info)
	if code, output := c.command(nil, "config", "check", c.file); code != 0 {
		c.errorf("run accepts it, but config check refuses it: %d, %s", code, output)
	}
	books := children(cmd.Process.Pid)
	_ = cmd.Process.Kill()
	for _, pid := range books {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-ended
	if strings.Contains(c.stderr.String(), "goroutine ") {
		c.errorf("stderr has a stack trace:\n%s", &c.stderr)
	}
}

func (c *trial) remove() {
	for range 100 { // a killed process may not have ended yet
		if os.RemoveAll(c.dir) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// started waits until the process has written run.json or has ended.
func (c *trial) started(pid int, ended <-chan struct{}) (datadir.Info, bool) {
	limit := time.After(hang)
	dir := unquote(c.settings["data.dir"])
	for {
		if info, err := datadir.ReadInfo(dir); err == nil && info.PID == pid {
			return info, true
		}
		select {
		case <-ended:
			return datadir.Info{}, false
		case <-limit:
			c.errorf("wayside neither serves nor ends:\n%s", &c.stderr)
			_ = syscall.Kill(pid, syscall.SIGKILL)
			<-ended
			return datadir.Info{}, false
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func unquote(value string) string { return strings.Trim(value, "'\"") }

var hasPlace = regexp.MustCompile(`edge\.yaml:[1-9][0-9]*:[1-9][0-9]*: `)
