package store

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/disk"
)

// SchemaVersion is the layout that this package writes. It reads all of those before. Version 2 has sums of six hours and packed
// days, which an older wayside would leave in place when it writes the rows that they sum up; version 3 has the drops of each
// hour, which an older one would not write; version 4 no longer has packed days, which one that knows them would find out of date; version
// 5 says of each epoch where it began here, without which a refill would count events twice.
const SchemaVersion = 5

// MaxItems is the largest number of events in one batch. A batch of at most MaxItems events whose records are together at
// most 512 KiB fits one transaction; so do several megabytes of ordinary events, which compress to a sixth.
const MaxItems = 8192

// Errors that callers tell apart.
var (
	// ErrUnavailable says that the disk or the database refused, and the batch is not to blame: try again later.
	ErrUnavailable = errors.New("store unavailable")
	// ErrFailed says that a commit ended in doubt and the store must be closed and opened again. It wraps ErrUnavailable.
	ErrFailed = fmt.Errorf("%w: a commit failed, the store must be opened again", ErrUnavailable)
	// ErrClosed says that the store has been closed. It wraps ErrUnavailable.
	ErrClosed = fmt.Errorf("%w: closed", ErrUnavailable)
	// ErrInUse says that another process has the store open.
	ErrInUse = errors.New("store is in use by another process")
	// ErrSchema says that the data was written by a newer version of wayside. It has not been touched.
	ErrSchema = errors.New("store was written by a newer version of wayside")
	// ErrDamaged says that stored bytes are not what was written; the text names them.
	ErrDamaged = errors.New("store is damaged")
	// ErrBatchTooLarge says that a batch does not fit one transaction. Nothing was written; smaller parts of it may fit.
	ErrBatchTooLarge = errors.New("batch does not fit one transaction")
	// ErrInvalid says that a batch or plan contradicts itself. Nothing was written.
	ErrInvalid = errors.New("invalid")
	// ErrNoPlan says that the catalogue has no such plan in a state that allows the step.
	ErrNoPlan = errors.New("no such plan")
	// ErrNotVerified says that a plan's object has not been verified, so its events may not be deleted.
	ErrNotVerified = errors.New("plan is not verified")
	// ErrNotCheckpointed says that a plan's events are not yet included in the persisted rows; after the next checkpoint
	// they are.
	ErrNotCheckpointed = errors.New("plan is newer than the checkpoint")
)

// Options configure a store. The zero value of each field but Dir and QuarantineDir means the default named there.
type Options struct {
	Dir           string // Badger's folder, created if missing
	QuarantineDir string // where damaged stores and poisoned batches are kept; created when needed

	// CheckpointInterval is the time between checkpoints in Run; default 5 s. It bounds the work of a restart.
	CheckpointInterval time.Duration
	// LiveRowsMax bounds the rows in memory; default 8,192, about 1 to 3 KiB each. Beyond it a checkpoint is forced.
	LiveRowsMax int
	// MemTableBytes is Badger's memtable; default 4 MiB. Up to three of them are in memory, and a transaction holds at
	// most 15 % of one.
	MemTableBytes int64
	// ReserveBytes is the size of the reserve file; default 4 MiB, negative for none.
	ReserveBytes int64
	// OpenFreeMin is the free disk space in bytes below which the store is not opened, because Badger would die of it
	// with SIGBUS; default 8 MiB, negative for no check.
	OpenFreeMin int64
	// PageoutInterval is the longest time between hints to the kernel, in Run, that mapped table pages may go; default
	// 30 s, negative for never. Every 8 MiB written are followed by one as well.
	PageoutInterval time.Duration
	// RefuseDamaged makes Open leave a damaged store as it is, and return an error that wraps [ErrDamaged]: for whoever only
	// looks at a store. The ledgers beside it are then neither read into the store nor written.
	RefuseDamaged bool
	// LedgersMax bounds the ledgers of retired epochs that are kept one by one; default 1,000. Older ones are summed.
	LedgersMax int

	Now    func() time.Time // wall clock; default clock.Now
	Logger *slog.Logger     // default slog.Default

	anew bool      // owned by Open: a store that is made now is not the first one here
	cut  bool      // owned by Open: the store may be one of an earlier moment
	kept *keptFile // owned by Open, then by the holder of writeMu: the ledgers beside the store, nil if there is no file
}

func (o *Options) setDefaults() error {
	if o.Dir == "" || o.QuarantineDir == "" {
		return fmt.Errorf("%w: store options need Dir and QuarantineDir", ErrInvalid)
	}
	o.Dir = filepath.Clean(o.Dir)
	setDefault(&o.CheckpointInterval, 5*time.Second)
	setDefault(&o.LiveRowsMax, 8192)
	setDefault(&o.MemTableBytes, 4<<20)
	setDefault(&o.ReserveBytes, 4<<20)
	setDefault(&o.OpenFreeMin, disk.StoreFreeMin)
	setDefault(&o.PageoutInterval, 30*time.Second)
	setDefault(&o.LedgersMax, 1000)
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// badgerOptions are those of a sidecar: small memtables, no block cache (the blocks are compressed here, Badger does not
// compress them again), every commit synced. Values stay in the tables, where compaction gives their space back; Badger's
// value log stays empty. Conflict detection is off because all transactions that read what they write are made under one
// lock.
//
// A compaction builds a dozen tables in memory at a time, which is why tables stay at a megabyte however large the store
// gets. With Badger's default sizes the drain of a backlog held 150 MiB; with these it holds under 20.
func badgerOptions(o *Options) badger.Options {
	opt := badger.DefaultOptions(o.Dir).
		WithMemTableSize(o.MemTableBytes).
		WithBaseTableSize(1 << 20).
		WithBlockSize(4 << 10).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithNumLevelZeroTables(4).
		WithNumLevelZeroTablesStall(10).
		WithBlockCacheSize(0).
		WithIndexCacheSize(2 << 20).
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnBlockRead). // and see tables.go
		WithValueThreshold(min(o.MemTableBytes*15/100, 1<<20)).
		WithValueLogFileSize(16 << 20).
		WithSyncWrites(true).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithLogger(badgerLogger{o.Logger})
	opt.TableSizeMultiplier = 1
	return opt
}

// badgerLogger sends Badger's chatter to debug and its complaints to warn.
type badgerLogger struct{ log *slog.Logger }

func (l badgerLogger) Errorf(f string, a ...any)   { l.log.Warn("badger: " + line(f, a)) }
func (l badgerLogger) Warningf(f string, a ...any) { l.log.Warn("badger: " + line(f, a)) }
func (l badgerLogger) Infof(f string, a ...any)    { l.debug(f, a) }
func (l badgerLogger) Debugf(f string, a ...any)   { l.debug(f, a) }

func (l badgerLogger) debug(f string, a []any) {
	if l.log.Enabled(nil, slog.LevelDebug) { //nolint:staticcheck // the handler takes no context here
		l.log.Debug("badger: " + line(f, a))
	}
}

func line(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }
