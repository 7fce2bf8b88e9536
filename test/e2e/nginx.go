package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/loopback"
)

const nginxConfig = `daemon off;
worker_processes %[2]s;
pid %[1]s/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
%[3]s}
`

const nginxOrigin = `  server {
    listen %s;
    location / { default_type text/plain; return 200 "the quick brown fox jumps over the lazy dog, and the books say so\n"; }
  }
`

// Nginx is a running nginx.
type Nginx struct {
	Address string
	cmd     *exec.Cmd
}

// NginxPath finds nginx. Debian installs it into /usr/sbin, which is not in every user's PATH.
func NginxPath() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	if _, err := os.Stat("/usr/sbin/nginx"); err != nil {
		return "", fmt.Errorf("nginx is not installed (Debian: apt-get install nginx-light): %w", err)
	}
	return "/usr/sbin/nginx", nil
}

// StartNginx starts an nginx that responds to requests for every path with OriginBody. Its files are in dir.
func StartNginx(ctx context.Context, dir string) (*Nginx, error) {
	return StartNginxWith(ctx, dir, "1", nginxOrigin)
}

// StartNginxWith starts nginx with this number of worker processes. httpBlock is a part of nginx's http block, in which %s stands for the
// address to listen on. nginx keeps its files in dir.
func StartNginxWith(ctx context.Context, dir, workers, httpBlock string) (*Nginx, error) {
	path, err := NginxPath()
	if err != nil {
		return nil, err
	}
	addr, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, workers, fmt.Sprintf(httpBlock, addr)), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-e", "stderr", "-p", dir, "-c", config)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	n := &Nginx{Address: addr, cmd: cmd}
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
			return n, nil
		}
		select {
		case <-ctx.Done():
			n.Stop()
			return nil, fmt.Errorf("nginx is not listening: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// PIDs returns the process IDs of the master and of its workers.
func (n *Nginx) PIDs() ([]int, error) {
	master := n.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", master))
	if err != nil {
		return nil, err
	}
	pids := []int{master}
	for _, field := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Stop ends nginx and waits for it.
func (n *Nginx) Stop() {
	_ = n.cmd.Process.Signal(os.Interrupt)
	_ = n.cmd.Wait()
}
