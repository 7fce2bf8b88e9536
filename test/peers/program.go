package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/loopback"
)

// programTimeout limits one run of a program.
const programTimeout = time.Minute

// find returns the path of a program. If the program is missing, the error wraps errNotRun and names the package.
func find(name, pkg string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if path := "/usr/sbin/" + name; exec.Command(path, "-v").Run() == nil {
		return path, nil
	}
	return "", fmt.Errorf("%w: %s is not installed (Debian: apt-get install %s)", errNotRun, name, pkg)
}

// output runs a program and returns what it writes to standard output.
func output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %.300s", filepath.Base(name), err, stderr.String())
	}
	return stdout.String(), nil
}

// version returns the first line in which a program prints its version.
func version(ctx context.Context, name string, args ...string) string {
	out, _ := exec.CommandContext(ctx, name, args...).CombinedOutput() // nginx writes its version to standard error
	for word := range strings.FieldsSeq(string(out)) {
		word = strings.TrimPrefix(strings.TrimPrefix(word, "nginx/"), "nghttp2/")
		if word = strings.TrimPrefix(word, "v"); word != "" && word[0] >= '0' && word[0] <= '9' && strings.Contains(word, ".") {
			return word
		}
	}
	return ""
}

// start starts a server and waits until it listens on addr.
func (l *lab) start(ctx context.Context, addr, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return err
	}
	l.running = append(l.running, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for limit := time.Now().Add(30 * time.Second); ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(limit) {
			return fmt.Errorf("%s does not listen: %w", filepath.Base(name), err)
		}
	}
	return ctx.Err()
}

// file writes a file with a new name and returns its path.
func (l *lab) file(pattern, text string) (string, error) {
	f, err := os.CreateTemp(l.dir, pattern)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	return f.Name(), errors.Join(err, f.Close())
}

// nginx starts nginx with the contents of a server block, and returns its address.
func (l *lab) nginx(ctx context.Context, path, listen, server string) (string, error) {
	addr, err := loopback.FreeAddress()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(l.dir, "nginx-")
	if err != nil {
		return "", err
	}
	config, err := l.file("nginx-*.conf", fmt.Sprintf(`
daemon off; master_process off; error_log stderr crit; pid %[1]s/pid;
events { worker_connections 512; }
http {
	access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	client_max_body_size 0; ssl_certificate %[2]s; ssl_certificate_key %[3]s;
	server { listen %[4]s %[5]s; %[6]s }
}`, dir, l.certFile, l.keyFile, addr, listen, server))
	if err != nil {
		return "", err
	}
	return addr, l.start(ctx, addr, path, "-p", dir, "-e", "stderr", "-c", config)
}

// haproxy starts HAProxy with these arguments of bind and server, and returns its address.
func (l *lab) haproxy(ctx context.Context, path, bind, server string) (string, error) {
	addr, err := loopback.FreeAddress()
	if err != nil {
		return "", err
	}
	config, err := l.file("haproxy-*.cfg", fmt.Sprintf(`
global
	maxconn 512
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
frontend in
	bind %s %s
	default_backend out
backend out
	server one %s
`, addr, bind, server))
	if err != nil {
		return "", err
	}
	return addr, l.start(ctx, addr, path, "-db", "-q", "-f", config)
}
