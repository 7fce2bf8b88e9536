// Package h2spec runs the conformance tests of h2spec (https://github.com/summerwind/h2spec) against the real binary.
package h2spec

import (
	"bytes"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

// expected lists the cases that fail, and why they should. h2spec tests RFC 7540, which RFC 9113 has replaced.
var expected = map[string]string{
	"Sends invalid connection preface": "The listener speaks HTTP/1.1 too. What does not begin with the preface is a request of HTTP/1.1, and gets 400 " +
		"(RFC 9113, section 3.3; h2spec expects a frame or the end of the connection).",
	"Sends HEADERS frame that depend on itself":  "RFC 9113, section 5.3.2, has no priorities any more: they are ignored.",
	"Sends PRIORITY frame that depend on itself": "RFC 9113, section 5.3.2, has no priorities any more: they are ignored.",
}

// report is h2spec's report in JUnit format.
type report struct {
	Suites []struct {
		Section string `xml:"package,attr"`
		Cases   []struct {
			Name    string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func TestConformance(t *testing.T) {
	spec, err := toolbin.Binary("h2spec", "", "github.com/summerwind/h2spec/cmd/h2spec")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := e2e.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, driver := range []string{"loop", "goroutine"} {
		t.Run(driver, func(t *testing.T) { conform(t, spec, binary, driver) })
	}
}

func conform(t *testing.T, spec, binary, driver string) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "a body of several bytes")
	}))
	defer origin.Close()
	listen := loopback.Free(t)
	var log bytes.Buffer
	w := &e2e.Wayside{
		Binary: binary, DataDir: filepath.Join(t.TempDir(), "data"), Listen: listen, Log: &log,
		Args: []string{"--upstream", origin.URL, "--no-collector"}, Env: []string{"WAYSIDE_PROXY_DRIVER=" + driver},
	}
	if err := w.Start(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	defer w.Kill()
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	out, err := exec.CommandContext(t.Context(), spec, "-h", host, "-p", port, "--strict", "-j", file).CombinedOutput()
	if len(out) == 0 {
		t.Fatal("h2spec did not run:", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r report
	if err := xml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	cases, failed := 0, map[string]bool{}
	for _, suite := range r.Suites {
		for _, c := range suite.Cases {
			cases++
			if c.Failure == nil && c.Error == nil {
				continue
			}
			failed[c.Name] = true
			if expected[c.Name] == "" {
				t.Errorf("section %s: %s", suite.Section, c.Name)
			}
		}
	}
	if cases < 145 {
		t.Errorf("only %d cases ran", cases)
	}
	for name := range expected {
		if !failed[name] {
			t.Errorf("%q passes now: remove it from the expected failures", name)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
