package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/pages"
	"github.com/wayside-proxy/wayside/test/s3test"
)

// TestPages runs every command in the documentation that can be run here: in order, in one shell and one folder for each page, with free
// ports instead of those on the page. The output must have the lines that the page shows. A block that is not run says why in a comment
// above it; blocks with commands of the repository, such as make test, are left to TestCommandsOnPages in cmd/wayside.
func TestPages(t *testing.T) {
	t.Parallel()
	for page, text := range pages.All(t, "../..") {
		blocks := pages.Blocks(t, page, text)
		blocks = slices.DeleteFunc(blocks, func(b pages.Block) bool { return b.NotRun != "" || b.OnlyRepository() })
		if len(blocks) == 0 {
			continue
		}
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			s := newPageShell(t)
			if prepare := pagePreparations[page]; prepare != nil {
				prepare(s)
			}
			s.run(page, blocks)
		})
	}
}

// pageShell runs the commands of a page.
type pageShell struct {
	*testing.T
	dir     string
	env     []string
	replace []string          // of the text on the page, by something that exists here
	ports   map[string]string // by the port on the page
}

func newPageShell(t *testing.T) *pageShell {
	t.Helper()
	s := &pageShell{T: t, dir: t.TempDir(), ports: map[string]string{}}
	if err := os.Mkdir(filepath.Join(s.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(testBinary(t), filepath.Join(s.dir, "bin/wayside")); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0",
		"WAYSIDE_DEFAULT_LISTEN=127.0.0.1:"+s.port("8090"), "WAYSIDE_DEFAULT_ADMIN=127.0.0.1:"+s.port("8091"))
	return s
}

// port returns the free port that stands for a port on the page.
func (s *pageShell) port(onPage string) string {
	if s.ports[onPage] == "" {
		_, s.ports[onPage], _ = strings.Cut(loopback.Free(s.T), ":")
	}
	return s.ports[onPage]
}

var (
	portsOnPages = regexp.MustCompile(`\b(3000|4000|80[89]\d|8443)\b`)
	serves       = regexp.MustCompile(`(?m)^(.*wayside (?:run|archive serve) [^\n#]*[^&\\\n# ])(?: +#.*)?$`) // until it is stopped
	adminFlag    = regexp.MustCompile(`--admin (\S+)`)
)

// local returns the commands with the addresses and names of this machine. A command that serves until it is stopped is stopped as soon as
// it is ready, and must then end without an error.
func (s *pageShell) local(text string) string {
	text = strings.NewReplacer(s.replace...).Replace(text)
	text = portsOnPages.ReplaceAllStringFunc(text, s.port)
	return serves.ReplaceAllStringFunc(text, func(line string) string {
		command := serves.FindStringSubmatch(line)[1]
		admin := "127.0.0.1:" + s.port("8091")
		if flag := adminFlag.FindStringSubmatch(command); flag != nil {
			admin = flag[1]
		}
		const untilReady = "server=$!; until curl -sf http://%s/readyz; do kill -0 $server; sleep 0.1; done; kill $server; wait $server"
		return fmt.Sprintf("%s &\n"+untilReady, command, admin)
	})
}

// run runs the blocks in one shell, and compares the output of each with the page.
func (s *pageShell) run(page string, blocks []pages.Block) {
	s.Helper()
	script := "set -eo pipefail\nexec 2>&1\n"
	for i, b := range blocks {
		script += fmt.Sprintf("echo 'block %d'\n%s\n", i, s.local(b.Text))
	}
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env, cmd.SysProcAttr, cmd.WaitDelay = s.dir, s.env, &syscall.SysProcAttr{Setpgid: true}, time.Second
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	defer func() { _ = cmd.Cancel() }() // what the page has not stopped
	if err != nil {
		logs, _ := exec.CommandContext(s.Context(), "bash", "-c", "tail -n 30 "+s.dir+"/*.log").CombinedOutput()
		s.Fatalf("%s: %v\n%s\n%s", page, err, out, logs)
	}
	for i, b := range blocks {
		_, got, _ := strings.Cut(string(out), fmt.Sprintf("block %d\n", i))
		got, _, _ = strings.Cut(got, fmt.Sprintf("block %d\n", i+1))
		for line := range strings.Lines(b.Output) {
			pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(s.local(line))), "…", ".*")
			if !regexp.MustCompile(`(?m)^\s*` + pattern).MatchString(got) {
				s.Errorf("%s:%d: no line like %q in\n%s", page, b.Line, line, got)
			}
		}
	}
}

// pagePreparations makes what the commands of a page expect to exist.
var pagePreparations = map[string]func(*pageShell){
	"README.md": func(s *pageShell) {
		server := s3test.Start(s.T)
		s.env = append(s.env, server.Env()...)
		s.replace = []string{
			"make build\n", "",
			"s3://bucket/prefix?endpoint=http://127.0.0.1:7070&region=us-east-1&path_style=true", server.URL("prefix"),
		}
	},
	"docs/QUERY.md": func(s *pageShell) {
		server := s3test.Start(s.T)
		s.env = append(s.env, server.Env()...)
		s.replace = []string{
			"s3://bucket/prefix", "'" + server.URL("prefix") + "'",
			"2026-11-20", time.Now().UTC().Format(time.DateOnly), "2026-11-21", time.Now().UTC().AddDate(0, 0, 2).Format(time.DateOnly),
		}
		w, _ := newWayside(s.T, origin(s.T), "--archive", server.URL("prefix"))
		w.Env = server.Env()
		start(s.T, w)
		send(s.T, w, 20, http.StatusOK)
		if err := w.Stop(time.Minute); err != nil { // it archives everything
			s.Fatal(err)
		}
	},
	"docs/TLS.md": func(s *pageShell) {
		certtest.NewCA(s.T, "pages").Issue(s.T, certtest.Leaf{Names: []string{"example.org"}}).Write(s.T, s.dir, "site")
		s.replace = []string{" :443", " 127.0.0.1:" + s.port("8443")}
	},
	"docs/OPERATIONS.md": func(s *pageShell) {
		w, _ := newWayside(s.T, origin(s.T))
		start(s.T, w)
		send(s.T, w, 20, http.StatusOK)
		s.replace = []string{
			"wayside import --data /var/lib/wayside", "wayside import --data ./imported", // no wayside may use the directory
			"/var/lib/wayside", w.DataDir, "/backup/", s.dir + "/", "/var/log/nginx/", s.dir + "/",
		}
		const line = `192.0.2.1 - - [29/Nov/2026:10:00:0%d +0000] "GET /users/%d HTTP/1.1" 200 5 "-" "curl"` + "\n"
		certtest.WriteFile(s.T, filepath.Join(s.dir, "access.log.1"), fmt.Appendf(nil, line, 1, 1))
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		fmt.Fprintf(z, line, 0, 0)
		if err := z.Close(); err != nil {
			s.Fatal(err)
		}
		certtest.WriteFile(s.T, filepath.Join(s.dir, "access.log.2.gz"), zipped.Bytes())
	},
}
