package everykey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// live is a wayside that runs while its configuration file changes.
type live struct {
	*trial
	cmd   *exec.Cmd
	ended chan struct{}
	info  datadir.Info
}

func startLive(t *testing.T, upstream string, settings ...string) *live {
	t.Helper()
	built(t)
	l := &live{trial: newTrial(t, upstream, "reload", settings...), ended: make(chan struct{})}
	l.cmd = exec.Command(binary, "run", "--config", l.file) //nolint:gosec // the binary under test
	l.cmd.Dir, l.cmd.Env, l.cmd.Stdout, l.cmd.Stderr, l.cmd.WaitDelay = l.dir, environ(), &l.stdout, &l.log, time.Second
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = l.cmd.Wait(); close(l.ended) }()
	t.Cleanup(func() {
		books := children(l.cmd.Process.Pid)
		_ = l.cmd.Process.Kill()
		for _, pid := range books {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-l.ended
		if t.Failed() {
			t.Logf("log:\n%s", l.log.String())
		}
		l.remove()
	})
	var running bool
	if l.info, running = l.started(l.cmd.Process.Pid, l.ended); !running {
		t.Fatalf("does not start:\n%s", l.log.String())
	}
	l.booksAfter(0)
	return l
}

// booksAfter waits until a books process other than the one named answers, and returns its pid.
func (l *live) booksAfter(former int) int {
	l.t.Helper()
	for end := time.Now().Add(hang); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		pids := children(l.cmd.Process.Pid)
		if len(pids) != 1 || pids[0] == former {
			continue
		}
		if status, _ := l.get("/api/v1/jobs"); status == http.StatusOK && slices.Equal(children(l.cmd.Process.Pid), pids) {
			return pids[0]
		}
	}
	l.t.Fatalf("%s: no books process after %d", l.name, former)
	return 0
}

func (l *live) get(path string) (int, string) { return l.ask(http.MethodGet, path) }

func (l *live) ask(method, path string) (int, string) {
	req, err := http.NewRequest(method, l.info.Admin+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := (&http.Client{Timeout: hang}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// answer is the answer of a reload.
type answer struct {
	Traffic []string `json:"in_effect"`
	Books   []string `json:"books_restarting"`
	Restart []string `json:"needs_restart"`
}

// reload writes the base and these settings, and reloads. It waits for the books process if that restarts.
func (l *live) reload(settings ...string) (a answer, replaced bool) {
	l.t.Helper()
	l.settings = map[string]string{}
	for key, value := range base {
		l.settings[key] = place(l.t, l.dir, l.origin, value)
	}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, ": ")
		l.settings[key] = place(l.t, l.dir, l.origin, value)
	}
	l.write()
	former := l.booksAfter(0)
	status, body := l.ask(http.MethodPost, "/-/reload")
	if status != http.StatusOK {
		l.t.Fatalf("%s: reload of %q answers %d: %s", l.name, settings, status, body)
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		l.t.Fatal(err)
	}
	if len(a.Books) > 0 {
		return a, l.booksAfter(former) != former
	}
	return a, l.booksAfter(0) != former
}

// safeLog is a log that two processes write while the test reads it.
type safeLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *safeLog) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *safeLog) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// TestReloadOfEachKey changes each key in the file of a real wayside and reloads. The answer must name the key in the list that
// docs/CONFIGURATION.md documents, and the books process must restart exactly if the answer says so.
func TestReloadOfEachKey(t *testing.T) {
	upstream := origin(t)
	work := make(chan configs.Key)
	var all sync.WaitGroup
	for range atOnce / 2 {
		l := startLive(t, upstream)
		all.Go(func() {
			for k := range work {
				l.oneKey(k)
			}
		})
	}
	for _, k := range configs.Keys() {
		if len(ofKey[k.Path].good) > 0 { // otherwise TestEveryKeyAtItsEdges fails
			work <- k
		}
	}
	close(work)
	all.Wait()
}

func (l *live) oneKey(k configs.Key) {
	own := ofKey[k.Path]
	l.name = k.Path
	before := slices.Clone(own.with)
	if own.from != "" {
		before = append(before, k.Path+": "+own.from)
	}
	l.reload(before...)
	value := own.good[0]
	if base[k.Path] == value {
		value = own.good[1]
	}
	a, replaced := l.reload(append(slices.Clone(own.with), k.Path+": "+value)...)
	// Keys that the file does not set may depend on one that it sets: the token on its file, a limit on another limit.
	written := func(keys []string) []string {
		return slices.DeleteFunc(keys, func(key string) bool { return l.settings[key] == "" })
	}
	got := answer{written(a.Traffic), written(a.Books), written(a.Restart)}
	want := answer{[]string{}, []string{}, []string{}}
	*map[configs.Effect]*[]string{
		configs.EffectAtOnce: &want.Traffic, configs.EffectBooks: &want.Books, configs.EffectRestart: &want.Restart,
	}[k.Effect] = []string{k.Path}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		l.errorf("the answer is %v, want %v", a, want)
	}
	if replaced != (k.Effect == configs.EffectBooks) {
		l.errorf("the books process was replaced: %t; the documentation says: %s", replaced, k.Effect)
	}
}

// TestReloadIsTrue checks that the new value has an effect, for keys that both processes or only the books process read.
func TestReloadIsTrue(t *testing.T) {
	l := startLive(t, origin(t))
	settings := []string{
		"record.trace_id: true", "archive.after: 0s", "archive.schedule: '@every 1s'", "retention.schedule: '@every 11h'",
		"report.schedule: '@every 12h'", "prune.schedule: '@every 13h'", "metrics.paths_max: 1", "log.level: debug", "archive.url: file://$DIR/elsewhere",
	}
	l.reload(settings...)
	t.Run("schedules", func(t *testing.T) {
		if _, body := l.get("/api/v1/jobs"); !strings.Contains(body, "@every 11h") || !strings.Contains(body, "@every 12h") || !strings.Contains(body, "@every 13h") {
			t.Error(body)
		}
	})
	for _, path := range []string{"/one", "/two/three"} {
		req, err := http.NewRequest(http.MethodGet, "http://"+l.info.Listen+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	eventually := func(what string, holds func() bool) {
		t.Run(what, func(t *testing.T) {
			for end := time.Now().Add(hang); !holds(); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("never")
				}
			}
		})
	}
	eventually("the trace id is archived, in the new place, where commands find it by run.json", func() bool {
		_, said := l.command(nil, "archive", "cat", "--data", unquote(l.settings["data.dir"]))
		return strings.Contains(said, `"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`)
	})
	eventually("one path has figures of its own", func() bool {
		_, body := l.get("/metrics")
		return strings.Contains(body, `"(other)"`)
	})
	eventually("the books process logs at the new level", func() bool {
		for line := range strings.Lines(l.log.String()) {
			if strings.Contains(line, `"process":"collect"`) && strings.Contains(line, `"level":"DEBUG"`) {
				return true
			}
		}
		return false
	})
	t.Run("the command", func(t *testing.T) {
		l.settings["report.warn_days"] = "8"
		l.settings["proxy.via"] = "false"
		l.write()
		code, said := l.command(nil, "reload", "--data", unquote(l.settings["data.dir"]))
		if code != 0 || !strings.Contains(said, "in effect: proxy.via\n") || !strings.Contains(said, "the books process restarts with: report.warn_days\n") {
			t.Errorf("%d: %s", code, said)
		}
	})
	t.Run("certificates in the same file", func(t *testing.T) {
		with := []string{"archive.ca_file: $CA", s3[0]}
		l.reload(with...)
		if err := os.WriteFile(place(t, l.dir, "", "$CA"), []byte(certificate(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		if a, replaced := l.reload(with...); !slices.Equal(a.Books, []string{"archive.ca_file"}) || !replaced {
			t.Errorf("%+v, books process replaced: %t", a, replaced)
		}
	})
}

// TestReloadRefusesWhole: if one value in a file would disable the books, no value of the file is applied, and the books continue.
func TestReloadRefusesWhole(t *testing.T) {
	l := startLive(t, origin(t))
	former := l.booksAfter(0)
	for _, bad := range []string{"archive.url: s3://b", "archive.ca_file: /nowhere", "archive.url: 'file:///a#b'", "data.bytes_max: 1", "upstream: " + l.info.Admin, "prune.schedule: '@every 1ns'"} {
		key, value, _ := strings.Cut(bad, ": ")
		l.settings = map[string]string{"log.level": "debug"}
		for k, v := range base {
			l.settings[k] = place(t, l.dir, l.origin, v)
		}
		if key == "upstream" {
			l.settings["admin.listen"] = strings.TrimPrefix(l.info.Admin, "http://")
		}
		l.settings[key] = value
		l.write()
		if status, body := l.ask(http.MethodPost, "/-/reload"); status/100 != 4 || !hasPlace.MatchString(body) || !strings.Contains(body, key) {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
	if code, said := l.command(nil, "reload", "--data", unquote(l.settings["data.dir"])); code != 78 || !strings.Contains(said, "prune.schedule") {
		t.Errorf("wayside reload ends with %d: %s", code, said)
	}
	if now := children(l.cmd.Process.Pid); !slices.Equal(now, []int{former}) {
		t.Errorf("the books process was %d and is %d", former, now)
	}
	if strings.Contains(l.log.String(), `"level":"DEBUG"`) {
		t.Error("a key beside the wrong one was taken over")
	}
	l.serves(l.info)
}
