package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// haproxyConfig sets two threads, because nginx has two workers, and lets all clients share the connections to the origin. It adds the
// same fields as nginx. The numbers of threads and connections are set because they would otherwise depend on the machine.
const haproxyConfig = `global
  nbthread 2
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend clients
  bind %s
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Request-ID %%[uuid()]
  default_backend origin
backend origin
  http-reuse always
  server origin %s
`

// startHAProxy starts HAProxy on an address, in front of the origin.
func startHAProxy(name, dir, address, origin string) (*process, error) {
	file := filepath.Join(dir, name+".cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, haproxyConfig, address, origin), 0o600); err != nil {
		return nil, err
	}
	return startProcess(name, dir, nil, "haproxy", "-db", "-f", file)
}
