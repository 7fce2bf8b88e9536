//go:build !faults

package traffic

import (
	"os"

	"github.com/wayside-proxy/wayside/proxy"
)

// recorderFor returns r. In a binary built for fault tests, it can return a recorder that loses an event.
func recorderFor(r proxy.Recorder) proxy.Recorder { return r }

// spoolFiles returns nil, which means os.OpenFile. In a binary built for fault tests, it can return a function whose files fail.
func spoolFiles() func(name string, flag int, perm os.FileMode) (*os.File, error) { return nil }
