package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/acmetest"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/testlog"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

const edgePage = "../../docs/EDGE.md"

// edgeSection is a configuration of the page, in each of its forms.
type edgeSection struct {
	number             string
	yaml, nginx, caddy string
}

// readEdgePage returns the sections of the page, and the lines of nginx that hold for all of them.
func readEdgePage(t *testing.T) (sections []*edgeSection, nginxHTTP string) {
	t.Helper()
	text, err := os.ReadFile(edgePage)
	if err != nil {
		t.Fatal(err)
	}
	var s *edgeSection
	var block *string
	for i, line := range strings.Split(string(text), "\n") {
		title, heading := strings.CutPrefix(line, "## ")
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case heading && block == nil:
			s = nil
			if number, _, ok := strings.Cut(title, ". "); ok && number != "" {
				s = &edgeSection{number: number}
				sections = append(sections, s)
			}
		case fence && block != nil:
			block = nil
		case fence && language == "nginx-http":
			block = &nginxHTTP
		case fence && s == nil:
			t.Fatalf("%s:%d: a block outside of the sections", edgePage, i+1)
		case fence:
			if block = map[string]*string{"yaml": &s.yaml, "nginx": &s.nginx, "caddyfile": &s.caddy}[language]; block == nil || *block != "" {
				t.Fatalf("%s:%d: an unknown or repeated block %q", edgePage, i+1, language)
			}
		case block != nil:
			*block += line + "\n"
		}
	}
	return sections, nginxHTTP
}

// TestEdgePage starts the real binary with every configuration of docs/EDGE.md, sends requests through it, and compares the books with the
// clients. Addresses and names of files are replaced; everything else is as on the page.
func TestEdgePage(t *testing.T) {
	t.Parallel()
	sections, _ := readEdgePage(t)
	if len(sections) != len(edgeTrials) {
		t.Errorf("the page has %d configurations, and this test %d", len(sections), len(edgeTrials))
	}
	for _, s := range sections {
		try := edgeTrials[s.number]
		t.Run(s.number, func(t *testing.T) {
			t.Parallel()
			if s.yaml == "" || try == nil {
				t.Fatal("there is no configuration, or no trial of it")
			}
			e := newEdge(t)
			if strings.Contains(s.yaml, "acme:") {
				e.useAuthority(acmetest.Start(t))
			}
			e.start(s.yaml)
			try(e)
			e.compareBooks()
		})
	}
}

// TestEdgePageOfOthers lets nginx and Caddy check their forms of the configurations.
func TestEdgePageOfOthers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds Caddy the first time")
	}
	nginx, err := NginxPath()
	if err != nil {
		t.Fatal(err)
	}
	caddy, err := toolbin.Binary("caddy", "caddy", ".")
	if err != nil {
		t.Fatal(err)
	}
	sections, common := readEdgePage(t)
	for _, s := range sections {
		t.Run(s.number, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			if s.nginx != "" {
				text := fmt.Sprintf("pid %[1]s/pid;\nevents {}\nhttp {\naccess_log off;\n%[2]s\n%[3]s}\n", e.dir, common, e.local(s.nginx))
				checkForm(t, e.dir, "nginx.conf", text, nginx, "-t", "-q", "-e", "stderr", "-p", e.dir, "-c")
			} else if !strings.Contains(s.yaml, "acme:") {
				t.Error("there is no form for nginx")
			}
			if s.caddy == "" {
				t.Fatal("there is no form for Caddy")
			}
			checkForm(t, e.dir, "Caddyfile", e.local(s.caddy), caddy, "validate", "--adapter", "caddyfile", "--config")
		})
	}
}

// checkForm lets a server check a file.
func checkForm(t *testing.T, dir, name, text string, command ...string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], file)...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s\n%s", filepath.Base(command[0]), err, text, out)
	}
}

// edge is a wayside with a configuration of the page, and the services behind it.
type edge struct {
	*testing.T
	dir              string
	ca               *certtest.CA
	listen, redirect string
	services         map[string]*edgeService // by their address on the page
	authority        *acmetest.Authority
	w                *Wayside
	expected         []string // the events of the books, one for each response
}

// newEdge makes the services and files of the page.
func newEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{T: t, dir: t.TempDir(), ca: certtest.NewCA(t, "edge"), services: map[string]*edgeService{}}
	e.listen, e.redirect = loopback.Free(t), loopback.Free(t)
	const month = 30 * 24 * time.Hour // shorter ones cause a warning
	e.ca.Issue(t, certtest.Leaf{Names: []string{"example.org", "www.example.org"}, For: month}).Write(t, e.dir, "example.org")
	e.ca.Issue(t, certtest.Leaf{Names: []string{"*.shops.example"}, For: month}).Write(t, e.dir, "shops")
	e.ca.Issue(t, certtest.Leaf{Common: "edge", Client: true, For: month}).Write(t, e.dir, "edge")
	certtest.WriteFile(t, filepath.Join(e.dir, "clients.pem"), e.ca.PEM())
	certtest.WriteFile(t, filepath.Join(e.dir, "internal.pem"), e.ca.PEM())
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	certtest.WriteFile(t, filepath.Join(e.dir, "users.htpasswd"), fmt.Appendf(nil, "ops:%s\n", hash))
	certtest.WriteFile(t, filepath.Join(e.dir, "closed.html"), []byte("<p>The shop is closed.</p>"))
	for _, address := range []string{"10.0.0.5:3000", "10.0.0.6:3000", "10.0.0.7:8080", "10.0.0.8:8080", "10.0.0.9:8443"} {
		e.services[address] = startEdgeService(e, address)
	}
	return e
}

// useAuthority makes the listeners those to which the authority connects.
func (e *edge) useAuthority(a *acmetest.Authority) {
	e.authority, e.listen, e.redirect = a, a.TLSAddr, a.HTTPAddr
	certtest.WriteFile(e, filepath.Join(e.dir, "authority.pem"), a.CA.PEM())
}

// local replaces the addresses and the folder of the page.
func (e *edge) local(text string) string {
	for address, service := range e.services {
		text = strings.ReplaceAll(text, address, service.address)
	}
	text = regexp.MustCompile(`(listen|redirect_http): :\d+`).ReplaceAllStringFunc(text, func(line string) string {
		if strings.HasPrefix(line, "listen") {
			return "listen: " + e.listen
		}
		return "redirect_http: " + e.redirect
	})
	text = strings.NewReplacer("/etc/wayside/", e.dir+"/", "10.0.0.0/8", "127.0.0.2/32").Replace(text)
	if e.authority != nil {
		text = strings.Replace(text, "acme: {", fmt.Sprintf("acme: {directory: %q, ca_file: %s/authority.pem, ", e.authority.Directory, e.dir), 1)
	}
	return text
}

// start starts wayside. --listen has the same value as the file.
func (e *edge) start(yaml string) {
	e.Helper()
	file := filepath.Join(e.dir, "edge.yaml")
	if err := os.WriteFile(file, []byte(e.local(yaml)), 0o600); err != nil {
		e.Fatal(err)
	}
	binary := testBinary(e.T)
	if out, err := exec.CommandContext(e.Context(), binary, "config", "check", file).CombinedOutput(); err != nil || string(out) != "ok\n" {
		e.Fatalf("config check: %v\n%s", err, out)
	}
	log := &testlog.Buffer{}
	e.w = &Wayside{Binary: binary, DataDir: filepath.Join(e.dir, "data"), Listen: e.listen, Log: log, Args: []string{"--config", file}}
	e.Cleanup(func() {
		_ = e.w.Stop(40 * time.Second)
		if e.Failed() {
			e.Logf("wayside's log:\n%s", log)
		}
		if strings.Contains(log.String(), "DATA RACE") {
			e.Errorf("the race detector found a race:\n%s", log)
		}
	})
	start(e.T, e.w)
}

// compareBooks compares the events of the books with the responses that the clients got, and with the requests that the services have seen.
func (e *edge) compareBooks() {
	e.Helper()
	if _, err := e.w.AwaitSettled(e.Context()); err != nil {
		e.Fatal(err)
	}
	body, err := e.w.Ask(e.Context(), "GET", "/api/v1/events?limit=10000")
	if err != nil {
		e.Fatal(err)
	}
	var page struct {
		Events []struct {
			Route    string `json:"route"`
			Status   int    `json:"http_response_status_code"`
			Upstream string `json:"upstream_address"`
		} `json:"events"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		e.Fatal(err)
	}
	var got []string
	byServer := map[string]int{}
	for _, event := range page.Events {
		got = append(got, fmt.Sprint(event.Status, " ", event.Route))
		byServer[event.Upstream]++
	}
	delete(byServer, "")
	slices.Sort(got)
	slices.Sort(e.expected)
	if !slices.Equal(got, e.expected) {
		e.Errorf("the books have %q, the clients %q", got, e.expected)
	}
	seen := map[string]int{}
	for _, s := range e.services {
		if n := int(s.requests.Load()); n > 0 {
			seen[s.address] = n
		}
	}
	if !maps.Equal(byServer, seen) {
		e.Errorf("requests by server: the books have %v, the services %v", byServer, seen)
	}
}
