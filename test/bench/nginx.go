package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// originBody is the body of all responses of the origin: 256 bytes.
var originBody = strings.Repeat("0123456789abcdef", 16)

// nginxMain is shared by the origin and the contestants. Connections stay open without a limit, as with the other contestants; by
// default, nginx would close a connection after 1,000 requests.
const nginxMain = `daemon off;
worker_processes 2;
pid %[1]s/%[2]s.pid;
error_log stderr warn;
%[3]s
events { worker_connections 4096; }
http {
  keepalive_requests 1000000000;
  client_body_temp_path %[1]s/%[2]s-body;
  proxy_temp_path %[1]s/%[2]s-proxy;
  fastcgi_temp_path %[1]s/%[2]s-fastcgi;
  uwsgi_temp_path %[1]s/%[2]s-uwsgi;
  scgi_temp_path %[1]s/%[2]s-scgi;
%[4]s}
`

const nginxOrigin = `  access_log off;
  server {
    listen %s reuseport;
    default_type text/plain;
    location = /bench-status { stub_status; }
    location / { return 200 "%s"; }
  }
`

const nginxProxy = `%s  upstream origin {
    server %s;
    keepalive 128;
    keepalive_requests 1000000000;
  }
  server {
    listen %s reuseport;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-ID $request_id;
    }
  }
`

// nginxJSON logs those fields recorded by wayside that are available in nginx.
const nginxJSON = `  log_format books escape=json '{"ts":"$time_iso8601","event_id":"$request_id","http_request_method":"$request_method",'
    '"url_path":"$uri","http_response_status_code":$status,"duration":"$upstream_response_time",'
    '"ttfb":"$upstream_header_time","http_request_body_size":"$content_length","http_response_body_size":$body_bytes_sent,'
    '"server_address":"$host","upstream_address":"$upstream_addr","network_protocol_version":"$server_protocol",'
    '"client_address":"$remote_addr"}';
  access_log %s books%s;
`

// startNginx writes a configuration with this http block and starts nginx.
func startNginx(name, dir, http string) (*process, error) {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // the workers need access to the temporary directory
	}
	file := filepath.Join(dir, name+".conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxMain, dir, name, user, http), 0o600); err != nil {
		return nil, err
	}
	return startProcess(name, dir, nil, "nginx", "-p", dir, "-e", "stderr", "-c", file)
}
