package everykey

import (
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
	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// live is a running wayside whose configuration file changes.
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
	l.cmd = exec.Command(binary, "run", "--config", l.file)
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
		t.Fatalf("wayside does not start:\n%s", l.log.String())
	}
	l.booksAfter(0)
	return l
}

// booksAfter waits until a books process other than former answers, and returns its process ID.
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
	l.t.Fatalf("%s: there is no books process after %d", l.name, former)
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

// answer is the response to a reload.
type answer struct {
	Traffic []string `json:"in_effect"`
	Books   []string `json:"books_restarting"`
	Restart []string `json:"needs_restart"`
}

// reload writes a file with the base and these settings, makes wayside read it, and waits for the books process that
// starts with them.
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

// TestReloadOfEachKey changes each key in the file of a real wayside and reloads it. The response must name the key in the list
// that docs/CONFIGURATION.md states, and the books process must be replaced if, and only if, the response
// says so.
func TestReloadOfEachKey(t *testing.T) {
	upstream := origin(t)
	work := make(chan configs.Key)
	var encrypted []configs.Key
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
		if len(ofKey[k.Path].good) > 0 { // keys without an entry are the business of TestEveryKeyAtItsEdges
			if strings.HasPrefix(k.Path, "tls.") || k.Path == "redirect_http" {
				encrypted = append(encrypted, k)
				continue
			}
			work <- k
		}
	}
	close(work)
	if len(encrypted) > 0 { // a reload can change TLS, but can neither enable nor disable it
		l := startLive(t, upstream, withTLS...)
		for _, k := range encrypted {
			l.oneKey(k)
		}
	}
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
	// Keys that the file does not set can change together with a key that it sets: the token with its file, or one
	// limit with another.
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
		l.errorf("the books process was replaced: %t; according to the documentation: %s", replaced, k.Effect)
	}
}

// TestReloadTakesEffect observes the effect of the new value, for keys that the books process or both processes read.
func TestReloadTakesEffect(t *testing.T) {
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
					t.Fatal("this did not happen in time")
				}
			}
		})
	}
	eventually("the trace id is in the new archive, which commands find by run.json", func() bool {
		_, output := l.command(nil, "archive", "cat", "--data", unquote(l.settings["data.dir"]))
		return strings.Contains(output, `"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`)
	})
	eventually("metrics are limited to one path", func() bool {
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
		code, output := l.command(nil, "reload", "--data", unquote(l.settings["data.dir"]))
		if code != 0 || !strings.Contains(output, "in effect: proxy.via\n") || !strings.Contains(output, "the books process restarts with: report.warn_days\n") {
			t.Errorf("%d: %s", code, output)
		}
	})
	t.Run("certificates in the same file", func(t *testing.T) {
		with := []string{"archive.ca_file: $CA", s3[0]}
		l.reload(with...)
		if err := os.WriteFile(place(t, l.dir, "", "$CA"), certtest.NewCA(t, "another").PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		if a, replaced := l.reload(with...); !slices.Equal(a.Books, []string{"archive.ca_file"}) || !replaced {
			t.Errorf("%+v, books process replaced: %t", a, replaced)
		}
	})
}

// TestReloadIsAllOrNothing reloads files in which one value would disable the books. No key may change, and the books process
// must continue.
func TestReloadIsAllOrNothing(t *testing.T) {
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
	l.settings["report.warn_days"] = "-1" // a second mistake
	l.write()
	code, output := l.command(nil, "reload", "--data", unquote(l.settings["data.dir"]))
	_, checked := l.command(nil, "config", "check", l.file)
	if code != 78 || !strings.Contains(output, "prune.schedule") || !strings.Contains(output, "report.warn_days") || !strings.HasPrefix(output, checked) {
		t.Errorf("wayside reload exits with %d: %swayside config check says: %s", code, output, checked)
	}
	if now := children(l.cmd.Process.Pid); !slices.Equal(now, []int{former}) {
		t.Errorf("the books process was %d and is %d", former, now)
	}
	if strings.Contains(l.log.String(), `"level":"DEBUG"`) {
		t.Error("another key of a refused file took effect")
	}
	l.serves(l.info)
}
