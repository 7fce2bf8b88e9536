package route

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/toolbin"
)

// TestOtherServers runs the lists of the corpus in nginx and Caddy. Each result that differs from wayside's must have a reason in the corpus,
// and each reason must be needed. -update writes the results; a difference without a reason gets "?", which fails the test.
func TestOtherServers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds Caddy the first time")
	}
	lists, reasons, head := readCorpus(t)
	servers := []struct {
		name  string
		start func(*testing.T, []*corpusList) []string
	}{{"nginx", startNginx}, {"caddy", startCaddy}}
	used := map[string]bool{}
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			addrs := server.start(t, lists)
			for i, l := range lists {
				for _, c := range l.cases {
					got := ask(t, addrs[i], c)
					known, reason, _ := strings.Cut(c.others[server.name], " ")
					if *update {
						c.note(server.name, got, reason)
						known, reason, _ = strings.Cut(c.others[server.name], " ")
					}
					switch {
					case known == "":
						known = c.want
					case known == c.want:
						t.Errorf("%s:%d: %s is like wayside and needs no column (go test -update)", corpusFile, c.line, server.name)
					case reasons[reason] == "":
						t.Errorf("%s:%d: no REASON %q for %s: %s instead of %s", corpusFile, c.line, reason, server.name, known, c.want)
					}
					if got != known {
						t.Errorf("%s:%d: %s: %s: got %s, the corpus says %s", corpusFile, c.line, server.name, c.text, got, known)
					}
					used[reason] = true
				}
			}
		})
	}
	if *update {
		writeCorpus(t, lists, reasons, head)
	}
	for reason := range reasons {
		if !used[reason] && !t.Failed() && len(used) > 0 {
			t.Errorf("REASON %s is not needed", reason)
		}
	}
}

// note writes down the result of another server.
func (c *corpusCase) note(server, result, reason string) {
	delete(c.others, server)
	if result != c.want {
		if reason == "" {
			reason = "?"
		}
		c.others[server] = result + " " + reason
	}
}

func writeCorpus(t *testing.T, lists []*corpusList, reasons map[string]string, head string) {
	var b strings.Builder
	b.WriteString(head + "\n")
	numbers := make([]string, 0, len(reasons))
	for number := range reasons {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		fmt.Fprintf(&b, "REASON %s %s\n", number, reasons[number])
	}
	for _, l := range lists {
		fmt.Fprintf(&b, "\nLIST %s\n%s\n", l.name, strings.Join(l.lines, "\n"))
		for _, c := range l.cases {
			fmt.Fprintf(&b, "%s\t%s", c.text, c.want)
			for _, server := range []string{"nginx", "caddy"} {
				if result := c.others[server]; result != "" {
					fmt.Fprintf(&b, "\t%s=%s", server, result)
				}
			}
			b.WriteString("\n")
		}
	}
	if err := os.WriteFile(corpusFile, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request and returns the name of the route that the server chose, "none", or "refused".
func ask(t *testing.T, addr string, c *corpusCase) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, c.message()); err != nil {
		t.Fatal(err)
	}
	response, _ := io.ReadAll(conn) // a reset after the response of a refusal is no error
	status, _, _ := strings.Cut(strings.TrimPrefix(string(response), "HTTP/1.1 "), " ")
	route := regexp.MustCompile(`(?mi)^x-route: (\S+)\r$`).FindSubmatch(response)
	switch {
	case status == "400":
		return "refused"
	case route != nil:
		return string(route[1])
	}
	return "status-" + status // a response that no route made
}

// freeAddrs returns addresses of loopback on which nothing listens.
func freeAddrs(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs
}

// run starts a server and waits until it listens on all addresses.
func run(t *testing.T, addrs []string, name string, args ...string) {
	t.Helper()
	said := filepath.Join(t.TempDir(), "output")
	out, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	limit := time.Now().Add(30 * time.Second)
	for _, addr := range addrs {
		for {
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				_ = conn.Close()
				break
			}
			if time.Now().After(limit) {
				text, _ := os.ReadFile(said)
				t.Fatalf("%s does not listen: %s", name, text)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// startNginx lets nginx choose the routes with one map for each list: its regular expressions are tried in order, on nginx's own reading of
// the host ($host) and the path ($uri).
func startNginx(t *testing.T, lists []*corpusList) []string {
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path = "/usr/sbin/nginx"; exec.Command(path, "-v").Run() != nil {
			t.Skip("NOT RUN: nginx is not installed (scripts/test.sh installs it)")
		}
	}
	addrs, dir := freeAddrs(t, len(lists)), t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, `daemon off; master_process off; error_log stderr crit; pid %[1]s/pid;
events { worker_connections 512; }
http {
	access_log off; map_hash_bucket_size 256; variables_hash_bucket_size 256;
	client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
`, dir)
	for i, l := range lists {
		names := headerNames(l)
		fmt.Fprintf(&b, "\tmap \"$host $request_method ")
		for _, name := range names {
			fmt.Fprintf(&b, "$http_%s ", strings.ReplaceAll(strings.ToLower(name), "-", "_"))
		}
		fmt.Fprintf(&b, "$uri\" $route%d {\n\t\tdefault none;\n", i)
		for k, c := range l.list {
			fmt.Fprintf(&b, "\t\t\"~^%s$\" %s;\n", nginxPattern(c, names), l.routes[k])
		}
		fmt.Fprintf(&b, "\t}\n\tserver { listen %s; location / { add_header X-Route $route%d always; return 204; } }\n", addrs[i], i)
	}
	b.WriteString("}\n")
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, addrs, path, "-p", dir, "-e", "stderr", "-c", config)
	return addrs
}

// nginxPattern is a regular expression for host, method, fields and path.
func nginxPattern(c Conditions, names []string) string {
	quote := func(s string) string {
		return strings.NewReplacer(`{`, `\x7b`, `}`, `\x7d`).Replace(regexp.QuoteMeta(s))
	}
	host := `[^ ]*`
	if below, ok := strings.CutPrefix(c.Host, "*."); ok {
		host = `[^ ]+\.` + quote(below)
	} else if c.Host != "" {
		host = quote(c.Host)
	}
	pattern := host + " " + `[^ ]+` + " "
	if len(c.Methods) > 0 {
		pattern = host + " (" + strings.Join(c.Methods, "|") + ") "
	}
	for _, name := range names {
		value := `[^ ]*`
		for _, h := range c.Headers {
			if h.Name == name {
				value = quote(h.Value)
			}
		}
		pattern += value + " "
	}
	switch path, prefix := strings.CutSuffix(c.Path, "/*"); {
	case c.Path == "":
		pattern += `[\x00-\xff]*`
	case prefix:
		pattern += quote(path) + `(/[\x00-\xff]*)?`
	default:
		pattern += quote(path)
	}
	return pattern
}

func headerNames(l *corpusList) (names []string) {
	for _, c := range l.list {
		for _, h := range c.Headers {
			if !slices.Contains(names, h.Name) {
				names = append(names, h.Name)
			}
		}
	}
	return names
}

// startCaddy gives each list to Caddy's matchers. /api/* becomes two paths, because Caddy's does not take /api.
func startCaddy(t *testing.T, lists []*corpusList) []string {
	path, err := toolbin.Binary("caddy", "caddy", ".")
	if err != nil {
		t.Fatal(err)
	}
	addrs, servers := freeAddrs(t, len(lists)), map[string]any{}
	for i, l := range lists {
		var routes []any
		for k, c := range l.list {
			match := map[string]any{}
			if c.Host != "" {
				match["host"] = []string{c.Host}
			}
			if c.Path != "" {
				match["path"] = []string{c.Path}
				if exact, prefix := strings.CutSuffix(c.Path, "/*"); prefix && exact != "" {
					match["path"] = []string{exact, c.Path}
				}
			}
			if len(c.Methods) > 0 {
				match["method"] = c.Methods
			}
			for _, h := range c.Headers {
				if match["header"] == nil {
					match["header"] = map[string][]string{}
				}
				match["header"].(map[string][]string)[h.Name] = []string{h.Value}
			}
			route := map[string]any{"terminal": true, "handle": []any{caddyResponse(l.routes[k])}}
			if len(match) > 0 {
				route["match"] = []any{match}
			}
			routes = append(routes, route)
		}
		routes = append(routes, map[string]any{"handle": []any{caddyResponse("none")}})
		servers[fmt.Sprint("list", i)] = map[string]any{
			"listen": []string{addrs[i]}, "routes": routes, "automatic_https": map[string]any{"disable": true}, "protocols": []string{"h1"},
		}
	}
	config, err := json.Marshal(map[string]any{
		"admin": map[string]any{"disabled": true, "config": map[string]any{"persist": false}},
		"apps":  map[string]any{"http": map[string]any{"servers": servers}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "caddy.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, addrs, path, "run", "--config", file)
	return addrs
}

func caddyResponse(route string) map[string]any {
	return map[string]any{"handler": "static_response", "status_code": 204, "headers": map[string][]string{"X-Route": {route}}}
}
