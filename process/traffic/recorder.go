//go:build !faults

package traffic

import "github.com/wayside-proxy/wayside/proxy"

// recorderFor returns r itself; a binary built for fault tests may return one that loses an event.
func recorderFor(r proxy.Recorder) proxy.Recorder { return r }
