//go:build !faults

package traffic

import "os"

// spoolFiles returns nil, which is os.OpenFile; a binary built for fault tests may return one whose files fail.
func spoolFiles() func(name string, flag int, perm os.FileMode) (*os.File, error) { return nil }
