//go:build !faults

package traffic

import (
	"os"

	"github.com/wayside-proxy/wayside/proxy"
)

// recorderFor returns r itself; a binary built for fault tests may return one that loses an event.
func recorderFor(r proxy.Recorder) proxy.Recorder { return r }

// spoolFiles returns nil, which is os.OpenFile; a binary built for fault tests may return one whose files fail.
func spoolFiles() func(name string, flag int, perm os.FileMode) (*os.File, error) { return nil }
