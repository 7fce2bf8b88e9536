package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/test/bench/rig"
)

// wrkScript requests 1,000 different paths in turn: pages, users, and orders with a UUID. It builds the requests once.
const wrkScript = `local requests, n = {}, 0
init = function(args)
  math.randomseed(42)
  for i = 1, 250 do
    local order = string.format("%08x-%04x-4%03x-8%03x-%06x%06x", math.random(0, 0x7fffffff), math.random(0, 0xffff),
      math.random(0, 0xfff), math.random(0, 0xfff), math.random(0, 0xffffff), math.random(0, 0xffffff))
    table.insert(requests, wrk.format("GET", "/"))
    table.insert(requests, wrk.format("GET", "/assets/app-" .. (i % 10) .. ".js"))
    table.insert(requests, wrk.format("GET", "/users/" .. i))
    table.insert(requests, wrk.format("GET", "/users/" .. i .. "/orders/" .. order))
  end
end
request = function()
  n = n % #requests + 1
  return requests[n]
end
`

// runWrk loads an address with two threads, or one for a single connection.
func runWrk(ctx context.Context, dir, address string, connections int, duration time.Duration) (rig.WrkReport, error) {
	script := filepath.Join(dir, "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		return rig.WrkReport{}, err
	}
	return rig.Wrk(ctx, "http://"+address+"/", 2, connections, duration, script)
}
