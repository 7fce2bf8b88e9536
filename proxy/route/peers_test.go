package route

import (
	"cmp"
	"encoding/json"
	"flag"
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

	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/routecorpus"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

var update = flag.Bool("update", false, "write the results of nginx and Caddy into the corpus")

// TestOtherServers runs the route lists in the corpus in nginx and Caddy. Each result that differs from wayside's must have a reason in the corpus,
// and each reason must be needed. -update writes the results; a difference without a reason gets "?", which makes the
// test fail.
func TestOtherServers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds Caddy the first time")
	}
	corpus := loadCorpus(t)
	servers := []struct {
		name  string
		start func(*testing.T, []*routecorpus.List) []string
	}{{"nginx", startNginx}, {"caddy", startCaddy}}
	used, ran := map[string]bool{}, 0
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			addrs := server.start(t, corpus.Lists)
			ran++
			for i, l := range corpus.Lists {
				for _, c := range l.Cases {
					used[compare(t, server.name, c, ask(t, addrs[i], c), corpus.Reasons)] = true
				}
			}
		})
	}
	if *update {
		if err := os.WriteFile("../../"+routecorpus.File, []byte(corpus.String("nginx", "caddy")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for reason := range corpus.Reasons {
		if !used[reason] && ran == len(servers) {
			t.Errorf("REASON %s is not needed", reason)
		}
	}
}

// compare compares the result from another server with the corpus. It returns the number of the reason for a difference.
func compare(t *testing.T, server string, c *routecorpus.Case, got string, reasons map[string]string) (reason string) {
	t.Helper()
	known, reason, _ := strings.Cut(c.Others[server], " ")
	if *update {
		delete(c.Others, server)
		if known = ""; got != c.Want {
			known = got
			c.Others[server] = got + " " + cmp.Or(reason, "?")
		}
	}
	switch {
	case known == "":
		known = c.Want
	case known == c.Want:
		t.Errorf("%s:%d: %s is like wayside and needs no column (go test -update)", routecorpus.File, c.Line, server)
	case reasons[reason] == "":
		t.Errorf("%s:%d: no REASON %q for %s: %s instead of %s", routecorpus.File, c.Line, reason, server, known, c.Want)
	}
	if got != known {
		t.Errorf("%s:%d: %s: %s: got %s, the corpus says %s", routecorpus.File, c.Line, server, c.Text, got, known)
	}
	return reason
}

// ask sends a request and returns the name of the route that the server chose, "none", or "refused".
func ask(t *testing.T, addr string, c *routecorpus.Case) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, c.Message()); err != nil {
		t.Fatal(err)
	}
	response, _ := io.ReadAll(conn) // a reset after a response that refuses the request is not an error
	status, _, _ := strings.Cut(strings.TrimPrefix(string(response), "HTTP/1.1 "), " ")
	route := regexp.MustCompile(`(?mi)^x-route: (\S+)\r$`).FindSubmatch(response)
	switch {
	case status == "400":
		return routecorpus.Refused
	case route != nil:
		return string(route[1])
	}
	return "status-" + status // the response was not made by a route
}

// freeAddrs returns loopback addresses on which nothing is listening.
func freeAddrs(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range n {
		addrs = append(addrs, loopback.Free(t))
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

// startNginx starts an nginx that chooses the routes with one map per list. The map's regular expressions are tried in order, on nginx's own
// interpretation of the host ($host) and the path ($uri).
func startNginx(t *testing.T, lists []*routecorpus.List) []string {
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
		for _, r := range l.Routes {
			fmt.Fprintf(&b, "\t\t\"~^%s$\" %s;\n", nginxPattern(r, names), r.Name)
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

// nginxPattern returns a regular expression for host, method, fields and path.
func nginxPattern(c routecorpus.Route, names []string) string {
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
			if h[0] == name {
				value = quote(h[1])
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

func headerNames(l *routecorpus.List) (names []string) {
	for _, c := range l.Routes {
		for _, h := range c.Headers {
			if !slices.Contains(names, h[0]) {
				names = append(names, h[0])
			}
		}
	}
	return names
}

// startCaddy starts a Caddy whose matchers have the routes of each list. /api/* becomes two paths, because in Caddy it does not match /api.
func startCaddy(t *testing.T, lists []*routecorpus.List) []string {
	path, err := toolbin.Binary("caddy", "caddy", ".")
	if err != nil {
		t.Fatal(err)
	}
	addrs, servers := freeAddrs(t, len(lists)), map[string]any{}
	for i, l := range lists {
		var routes []any
		for _, c := range l.Routes {
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
				match["header"].(map[string][]string)[h[0]] = []string{h[1]}
			}
			route := map[string]any{"terminal": true, "handle": []any{caddyResponse(c.Name)}}
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
