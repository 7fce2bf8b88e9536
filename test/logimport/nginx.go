package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/wayside-proxy/wayside/test/e2e"
)

// nginxLogs is a part of nginx's configuration, in which %[2]s stands for the folder of the logs.
const nginxLogs = `  log_format wayside_json escape=json '{"time_iso8601":"$time_iso8601","remote_addr":"$remote_addr","request_method":"$request_method",'
    '"request_uri":"$request_uri","request":"$request","status":$status,"body_bytes_sent":$body_bytes_sent,"request_time":$request_time,"host":"$host",'
    '"http_user_agent":"$http_user_agent"}';
  server {
    listen %[1]s;
    access_log DIR/combined.log combined;
    access_log DIR/json.log wayside_json;
    location / { return 200 "hello"; }
    location /api/ { return 200 "{\"id\": 1, \"name\": \"an object of the API\"}"; }
    location /old { return 301 /new; }
    location /missing { return 404 "there is nothing here"; }
    location /fail { return 503; }
    location /empty { return 204; }
  }
`

// targets are request lines without the protocol. In some of them, %d stands for a random number.
var targets = []string{
	"GET /", "GET /", "GET /health", "GET /api/users/%d", "GET /api/users/%d?full=1", "POST /api/users", "DELETE /api/users/%d", "PUT /api/orders/%d",
	"GET /old", "GET /missing", "GET /fail", "POST /empty", "HEAD /about", "GET /search?q=%%22quoted%%22&page=%d", "GET /caf%%C3%%A9/menu", "GET /static/app.js",
}

// agents are user agents. nginx escapes quotation marks and backslashes in them.
var agents = []string{"curl/8.1", `Mozilla/5.0 (X11; Linux x86_64) "quoted" \\ back`, "caf\u00e9/1.0"}

// writeLogs sends requests to nginx, which writes combined.log and json.log into dir.
func writeLogs(ctx context.Context, dir string, lines int) error {
	home := filepath.Join(dir, "nginx")
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	nginx, err := e2e.StartNginxWith(ctx, home, "1", strings.ReplaceAll(nginxLogs, "DIR", dir))
	if err != nil {
		return err
	}
	defer nginx.Stop()
	const connections = 8
	ended := make(chan error, connections)
	for i := range connections {
		n := lines / connections
		if i == 0 {
			n += lines % connections
		}
		go func() { ended <- send(ctx, nginx.Address, n, uint64(i)) }()
	}
	var errs []error
	for range connections {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// pipelined is the number of requests that are sent before their responses are read.
const pipelined = 64

// send sends n requests over one connection and reads their responses.
func send(ctx context.Context, address string, n int, seed uint64) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	r := rand.New(rand.NewPCG(seed, 1))
	in, out := bufio.NewReader(conn), bufio.NewWriter(conn)
	for sent := 0; sent < n; {
		batch := min(pipelined, n-sent)
		methods := make([]string, batch)
		for i := range methods {
			target := targets[r.IntN(len(targets))]
			if strings.Contains(target, "%d") || strings.Contains(target, "%%") {
				target = withNumber(target, r.IntN(100_000))
			}
			methods[i], _, _ = strings.Cut(target, " ")
			body := ""
			if methods[i] == http.MethodPost || methods[i] == http.MethodPut {
				body = "name=value"
			}
			fmt.Fprintf(out, "%s HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: %s\r\nContent-Length: %d\r\n\r\n%s", target, agents[r.IntN(len(agents))], len(body), body)
		}
		if err := out.Flush(); err != nil {
			return err
		}
		for _, method := range methods {
			resp, err := http.ReadResponse(in, &http.Request{Method: method})
			if err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return err
			}
			_ = resp.Body.Close()
		}
		sent += batch
	}
	return nil
}

func withNumber(target string, n int) string {
	if strings.Contains(target, "%d") {
		return fmt.Sprintf(target, n)
	}
	return strings.ReplaceAll(target, "%%", "%")
}

// compress makes a copy of a file, compressed with gzip.
func compress(name string) (string, error) {
	in, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	file, err := os.Create(name + ".gz")
	if err != nil {
		return "", err
	}
	out := gzip.NewWriter(file)
	_, err = io.Copy(out, in)
	return file.Name(), errors.Join(err, out.Close(), file.Close())
}
