package main

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

//go:embed origin.js
var nodeOrigin string

// origin is one server behind wayside.
type origin struct {
	name    string
	group   string
	address string
	command []string // command that starts the server; nil: the server is part of this process
	cmd     *exec.Cmd
	file    string // file in which a node origin records its requests
}

// arrival is a request that has arrived at an origin.
type arrival struct {
	nonce  uint64
	origin string
	route  string // the route that wayside has set in the request
	post   bool
}

// records holds the arrivals at those origins whose requests are handled in this process.
type records struct {
	mu   sync.Mutex
	list []arrival
}

func (r *records) add(a arrival) {
	r.mu.Lock()
	r.list = append(r.list, a)
	r.mu.Unlock()
}

// nonceOf returns the number at the end of a path.
func nonceOf(path string) (uint64, bool) {
	n, err := strconv.ParseUint(path[strings.LastIndexByte(path, '/')+1:], 10, 64)
	return n, err == nil
}

// app is the application of the nginx origins, which send their names in X-Server, and of the origins behind the DNS name.
func (r *records) app(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/ready" {
			return
		}
		r.respond(w, req, cmp.Or(name, req.Header.Get("X-Server")))
	})
}

func (r *records) respond(w http.ResponseWriter, req *http.Request, name string) {
	route := req.Header.Get("X-Route")
	nonce, ok := nonceOf(req.URL.Path)
	if !ok {
		http.Error(w, "no nonce", http.StatusBadRequest)
		return
	}
	r.add(arrival{nonce, name, route, req.Method == http.MethodPost})
	_, _ = io.Copy(io.Discard, req.Body)
	w.Header().Set("X-Origin", name)
	w.Header().Set("X-Saw-Route", route)
	_, _ = fmt.Fprintln(w, name, route, req.URL.Path)
}

const nginxOrigin = `daemon off; master_process off; pid %[1]s/%[2]s.pid; error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off; keepalive_timeout 300s; keepalive_requests 1000000000;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream app { server unix:%[1]s/app.sock; keepalive 64; }
  server {
    listen %[3]s ssl;
    ssl_certificate %[1]s/origin.crt; ssl_certificate_key %[1]s/origin.key;
    ssl_client_certificate %[1]s/ca.pem; ssl_verify_client on;
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_next_upstream off;
      proxy_set_header Connection ""; proxy_set_header X-Server %[2]s; proxy_set_header Host $host;
    }
  }
}
`

// newOrigins prepares two nginx and two node origins. The application behind nginx listens on a Unix socket.
func newOrigins(dir string, r *records) (list []*origin, stop func(), err error) {
	nginx, err := e2e.NginxPath()
	if err != nil {
		return nil, nil, err
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, nil, fmt.Errorf("node is not installed (Debian: apt-get install nodejs): %w", err)
	}
	script := filepath.Join(dir, "origin.js")
	if err := os.WriteFile(script, []byte(nodeOrigin), 0o600); err != nil {
		return nil, nil, err
	}
	for _, name := range []string{"nginx-1", "nginx-2", "node-1", "node-2"} {
		address, err := loopback.FreeAddress()
		if err != nil {
			return nil, nil, err
		}
		o := &origin{name: name, address: address}
		if o.group, _, _ = strings.Cut(name, "-"); o.group == "node" {
			o.file = filepath.Join(dir, name+".requests")
			o.command = []string{node, script, name, address[strings.LastIndexByte(address, ':')+1:], o.file}
		} else {
			config := filepath.Join(dir, name+".conf")
			if err := os.WriteFile(config, fmt.Appendf(nil, nginxOrigin, dir, name, address), 0o600); err != nil {
				return nil, nil, err
			}
			o.command = []string{nginx, "-e", "stderr", "-p", dir, "-c", config}
		}
		list = append(list, o)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "app.sock"))
	if err != nil {
		return nil, nil, err
	}
	server := &http.Server{Handler: r.app("")}
	go func() { _ = server.Serve(ln) }()
	return list, func() { _ = server.Close() }, nil
}

// namedAddresses are the addresses that the DNS name can have.
var namedAddresses = []string{"127.0.2.1", "127.0.2.2", "127.0.2.3", "127.0.2.4"}

// startNamed starts a server on each of the DNS name's addresses, all with the same port.
func startNamed(r *records) (list []*origin, port string, stop func(), err error) {
	var servers []*http.Server
	stop = func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}
	free, err := loopback.FreeAddress()
	if err != nil {
		return nil, "", stop, err
	}
	_, port, _ = net.SplitHostPort(free)
	for i, ip := range namedAddresses {
		o := &origin{name: fmt.Sprintf("named-%d", i+1), group: "named", address: net.JoinHostPort(ip, port)}
		ln, err := net.Listen("tcp", o.address)
		if err != nil {
			return nil, "", stop, err
		}
		s := &http.Server{Handler: r.app(o.name)}
		servers = append(servers, s)
		go func() { _ = s.Serve(ln) }()
		list = append(list, o)
	}
	return list, port, stop, nil
}

// start starts the origin's process and waits until it listens.
func (o *origin) start(ctx context.Context) error {
	o.cmd = exec.Command(o.command[0], o.command[1:]...)
	o.cmd.Stderr = os.Stderr
	if err := o.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", o.name, err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("%s does not listen: %w", o.name, err)
		}
	}
}

func (o *origin) signal(s syscall.Signal) error { return o.cmd.Process.Signal(s) }

// kill ends the process immediately.
func (o *origin) kill() error {
	if o.cmd == nil || o.cmd.ProcessState != nil {
		return nil
	}
	err := o.cmd.Process.Kill()
	_ = o.cmd.Wait()
	return err
}

// written returns the requests that a node origin has recorded.
func (o *origin) written() (list []arrival, err error) {
	file, err := os.Open(o.file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: line %q", o.file, lines.Text())
		}
		nonce, ok := nonceOf(fields[1])
		if !ok {
			return nil, fmt.Errorf("%s: line %q", o.file, lines.Text())
		}
		list = append(list, arrival{nonce, o.name, fields[2], fields[0] == http.MethodPost})
	}
	return list, lines.Err()
}
