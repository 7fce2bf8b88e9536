package badgerfiles

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/wayside-proxy/wayside/collector/store/storeerr"
	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// Badger replays the logs of its memtables when it opens a folder. If a log is damaged, it truncates the log at the
// damage, without an error, and continues with the next one.

// Logs lists the logs of the memtables in a folder, oldest first.
func Logs(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.mem")) // the pattern is a constant
	slices.Sort(names)
	return names
}

// CheckLogs looks for damage in all logs except the last. Such damage matters because later logs may depend on the entries that were
// lost. The last log may be incomplete (see [LastLogCut]). The error wraps storeerr.ErrDamaged.
func CheckLogs(dir string) error {
	names := Logs(dir)
	for _, name := range names[:max(0, len(names)-1)] {
		body, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("%w: %w", storeerr.ErrUnavailable, err)
		}
		if end, whole := logEnd(body); !whole {
			return fmt.Errorf("%w: log %s is damaged after byte %d, and a later log follows", storeerr.ErrDamaged, filepath.Base(name), end)
		}
	}
	return nil
}

// LastLogCut reports whether the last log may have lost entries at its end, in which case Badger would open the folder in an earlier
// state. Such a loss looks the same as the harmless unfinished entry of a process that died while it was writing.
func LastLogCut(dir string, memTableBytes int64) (bool, error) {
	names := Logs(dir)
	if len(names) == 0 {
		return false, nil
	}
	body, err := os.ReadFile(names[len(names)-1])
	if err != nil {
		return false, fmt.Errorf("%w: %w", storeerr.ErrUnavailable, err)
	}
	// Badger creates a log with twice the size of a memtable, and truncates it to the used length when it opens the
	// log.
	_, whole := logEnd(body)
	return !whole || int64(len(body)) < 2*memTableBytes, nil
}

// logHeadBytes is the length of the part before the first entry of a log: the number of an encryption key (0 here), and a nonce.
const logHeadBytes = 20

// logEnd walks through the entries of a log. It returns the position at which they end, and whether only zeros follow.
func logEnd(body []byte) (end int, whole bool) {
	zeros := func(from int) bool { return len(bytes.TrimLeft(body[min(from, len(body)):], "\x00")) == 0 }
	if len(body) < logHeadBytes || !bytes.Equal(body[:8], make([]byte, 8)) {
		return 0, zeros(0)
	}
	for end = logHeadBytes; ; {
		in := varint.Reader{Rest: body[end:]}
		in.Bytes(2) // meta
		key, value := in.Uvarint(), in.Uvarint()
		in.Uvarint() // expires
		if in.Bad || key == 0 || key > uint64(len(in.Rest)) || value > uint64(len(in.Rest)) {
			return end, zeros(end)
		}
		in.Bytes(int(key + value))
		size := len(body) - end - len(in.Rest)
		sum := in.Bytes(4)
		if in.Bad || binary.BigEndian.Uint32(sum) != crc32c.Sum(body[end:end+size]) {
			return end, zeros(end)
		}
		end += size + 4
	}
}

// RemoveEmptyLogs removes log files of length 0. Badger creates a log file and then extends it; a process that is killed in between
// leaves an empty file. Such a file contains no entries, but Badger (4.9.6) refuses to open a folder that has one, as if the folder were
// damaged.
func RemoveEmptyLogs(dir string) error {
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are constants
		for _, name := range names {
			info, err := os.Stat(name)
			if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
				err = os.Remove(name)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: %w", storeerr.ErrUnavailable, err)
			}
		}
	}
	return nil
}
