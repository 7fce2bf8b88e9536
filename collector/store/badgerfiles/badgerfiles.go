// Package badgerfiles contains everything that depends on Badger's internals: options for a small process, the files in its folder, and
// the memory that it maps or allocates. It does not depend on the keys and values of the store.
//
// A folder of Badger (4.9.6) holds tables (*.sst), the logs of memtables (*.mem), value logs (*.vlog, empty here), the MANIFEST, which
// lists the tables, and KEYREGISTRY. Badger repairs a damaged log or MANIFEST by truncating it, without an error, and treats the keys of
// a damaged table block as absent. Therefore, the checks of this package must run before Badger opens the folder.
package badgerfiles

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// Options returns options that suit a sidecar: small memtables, no block cache (wayside compresses its blocks itself, so Badger does not
// have to), and every commit synced. Values stay in the tables, where compaction frees their space; the value log stays empty. Conflict
// detection is off because all transactions that read what they write run under one lock.
//
// A compaction builds a dozen tables in memory at the same time. So the size of a table stays at a megabyte, however large the store
// gets: draining a backlog took 150 MiB of memory with Badger's default sizes and takes less than 20 MiB with these.
func Options(dir string, memTableBytes int64, log *slog.Logger) badger.Options {
	opt := badger.DefaultOptions(dir).
		WithMemTableSize(memTableBytes).
		WithBaseTableSize(1 << 20).
		WithBlockSize(tableBlockBytes).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithNumLevelZeroTables(4).
		WithNumLevelZeroTablesStall(10).
		WithBlockCacheSize(0).
		WithIndexCacheSize(2 << 20).
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnBlockRead). // see CheckTables
		WithValueThreshold(min(memTableBytes*15/100, 1<<20)).
		WithValueLogFileSize(16 << 20).
		WithSyncWrites(true).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithLogger(logger{log})
	opt.TableSizeMultiplier = 1
	return opt
}

// logger passes Badger's errors and warnings on at level warn, and everything else at level debug.
type logger struct{ log *slog.Logger }

func (l logger) Errorf(f string, a ...any)   { l.log.Warn("badger: " + line(f, a)) }
func (l logger) Warningf(f string, a ...any) { l.log.Warn("badger: " + line(f, a)) }
func (l logger) Infof(f string, a ...any)    { l.Debugf(f, a...) }

func (l logger) Debugf(f string, a ...any) {
	if l.log.Enabled(nil, slog.LevelDebug) { //nolint:staticcheck // the handler takes no context here
		l.log.Debug("badger: " + line(f, a))
	}
}

func line(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }

// Size returns the disk space, in bytes, that a folder's tables (with the memtables' logs and all small files) and value logs take up. It
// counts allocated blocks, because mapped files are longer than the space allocated for them.
func Size(dir string) (lsm, vlog int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue // removed by a compaction in the meantime
		}
		taken := info.Size()
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			taken = st.Blocks * 512
		}
		if strings.HasSuffix(entry.Name(), ".vlog") {
			vlog += taken
		} else {
			lsm += taken
		}
	}
	return lsm, vlog
}

// Exists reports whether a file of any type with this name exists.
func Exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
