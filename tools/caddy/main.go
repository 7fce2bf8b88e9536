// Command caddy is Caddy's HTTP server with the modules that the route corpus needs. Only tests use it (proxy/route).
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func main() { caddycmd.Main() }
