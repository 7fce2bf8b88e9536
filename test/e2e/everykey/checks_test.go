package everykey

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/test/e2e"
)

// refused checks the exit code and output of run, and that config check and the other sources of a value reject it as
// well.
func (c *trial) refused(code int, output string) {
	if code != 78 || !hasPlace.MatchString(output) || strings.Contains(output, "goroutine ") {
		c.errorf("exited with %d and without a place:\n%s", code, output)
		return
	}
	if c.mustBe == accepted {
		c.errorf("wayside refuses it: %s", output)
	}
	if code, output := c.command(nil, "config", "check", c.file); code != 78 && !c.onlyRun() || code == 78 && !hasPlace.MatchString(output) {
		c.errorf("run refuses it, but config check exits with %d: %s", code, output)
	}
	if strings.HasPrefix(c.key, "archive.") { // job archive is a command that opens the books itself
		if code, output := c.command(nil, "job", "archive", "--config", c.file); code != 78 || strings.Contains(output, "goroutine ") {
			c.errorf("job archive exits with %d: %s", code, output)
		}
	}
	value := unquote(c.value)
	if c.key == "" || value == "" || strings.ContainsAny(c.value, "[{\\\n") {
		return // the case has several keys, or a value that an environment variable cannot have
	}
	delete(c.settings, c.key)
	c.write()
	for _, k := range configs.Keys() {
		if k.Path != c.key || k.Type == "list" || k.Env == "" { // in an environment variable, every value is a list
			continue
		}
		if code, output := c.command([]string{k.Env + "=" + value}, "run", "--config", c.file); code != 78 || !strings.Contains(output, "environment "+k.Env+": ") {
			c.errorf("with %s, run exits with %d: %s", k.Env, code, output)
		}
		if k.Flag == "" || k.Type == "true or false" {
			continue
		}
		if code, output := c.command(nil, "run", "--config", c.file, k.Flag+"="+value); code != 78 || !strings.Contains(output, "flag "+k.Flag+": ") {
			c.errorf("with %s, run exits with %d: %s", k.Flag, code, output)
		}
	}
}

// onlyRun reports whether a value is wrong only for run, because a flag could still set the upstream.
func (c *trial) onlyRun() bool {
	return c.key == "upstream" && (unquote(c.value) == "" || c.value == "[]")
}

// serves sends a request and waits until its response is in the books.
func (c *trial) serves(info datadir.Info) {
	if c.settings["collector.enabled"] == "false" {
		beside := exec.Command(binary, "collect", "--config", c.file)
		beside.Dir, beside.Env = c.dir, environ()
		if err := beside.Start(); err != nil {
			c.errorf("%v", err)
			return
		}
		defer func() { _ = beside.Process.Kill(); _ = beside.Wait() }()
	}
	listen := strings.NewReplacer("[::]:", "127.0.0.1:", "0.0.0.0:", "127.0.0.1:").Replace(info.Listen)
	client := &http.Client{Timeout: hang, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: secure.Clone()}}
	resp, err := client.Get(c.scheme() + "://" + listen + "/x")
	if err != nil {
		c.errorf("there is no response: %v\n%s", err, &c.stderr)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	var last string
	for end := time.Now().Add(hang); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		a, err := c.account(client, info.Admin)
		if err == nil && a.Applied >= 1 {
			if err := a.Check(); err != nil {
				c.errorf("%v", err)
			}
			return
		}
		last = fmt.Sprintf("%+v, %v", a, err)
	}
	c.errorf("wayside serves, but keeps no books: %s\n%s", last, &c.stderr)
}

// scheme is that of the listener.
func (c *trial) scheme() string {
	for _, key := range []string{"tls.cert_file", "tls.certificates", "tls.acme.hosts"} {
		if value := unquote(c.settings[key]); value != "" && value != "[]" {
			return "https"
		}
	}
	return "http"
}

func (c *trial) account(client *http.Client, admin string) (a e2e.Accounting, err error) {
	req, err := http.NewRequest(http.MethodGet, admin+"/api/v1/accounting", nil)
	if err != nil {
		return a, err
	}
	token := unquote(c.settings["admin.token"])
	if c.settings["admin.token_file"] != "" {
		token = "a-token-of-a-test"
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("accounting answers %s", resp.Status)
	}
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// children lists the processes that pid has started.
func children(pid int) (list []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range tasks {
		text, _ := os.ReadFile(name)
		for _, field := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}
