package store

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/collector/store/storeerr"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/disk"
)

// SchemaVersion is the version of the layout that this package writes. The package reads all older versions. The version increases with
// each change that would make an older wayside damage the store or count wrongly:
//
//   - 2 adds sums of quarter days and packed days, which an older wayside leaves unchanged when it changes rows that they include;
//   - 3 adds the drops of each hour, which an older wayside would not write;
//   - 4 removes packed days; an older wayside would use them although they are no longer kept up to date;
//   - 5 records where the applied part of each epoch begins; without that, a refill would count events twice;
//   - 6 adds rows with a route, whose names an older wayside cannot read, and minutes, which an older wayside would not write.
const SchemaVersion = 6

// MaxItems is the maximum number of events in one batch. A batch fits into one transaction if its records have at most
// 512 KiB in total. Several megabytes of ordinary events also fit, because they compress to a sixth.
const MaxItems = 8192

// Errors that callers may have to distinguish.
var (
	// ErrUnavailable means that the disk or the database failed. The batch is not the cause, and a later attempt may succeed.
	ErrUnavailable = storeerr.ErrUnavailable
	// ErrFailed means that the outcome of a commit is unknown, and the store must be closed and reopened. It wraps
	// ErrUnavailable.
	ErrFailed = fmt.Errorf("%w: a commit failed, and the store must be reopened", ErrUnavailable)
	// ErrClosed means that the store has been closed. It wraps ErrUnavailable.
	ErrClosed = fmt.Errorf("%w: closed", ErrUnavailable)
	// ErrInUse means that another process has the store open.
	ErrInUse = errors.New("store is in use by another process")
	// ErrSchema means that a newer version of wayside wrote the data. Nothing was changed.
	ErrSchema = storeerr.ErrSchema
	// ErrDamaged means that the stored bytes differ from those that were written. The error message says where.
	ErrDamaged = storeerr.ErrDamaged
	// ErrBatchTooLarge means that a batch does not fit into one transaction. Nothing was written. Smaller batches may
	// fit.
	ErrBatchTooLarge = errors.New("batch does not fit into one transaction")
	// ErrInvalid means that a batch or plan contradicts itself. Nothing was written.
	ErrInvalid = errors.New("invalid")
	// ErrNoPlan means that the catalogue has no such plan in a state that allows the step.
	ErrNoPlan = errors.New("no such plan")
	// ErrNotVerified means that a plan's object has not been verified, so its events may not be deleted.
	ErrNotVerified = errors.New("plan is not verified")
	// ErrNotCheckpointed means that the stored rows do not yet include a plan's events. After the next checkpoint, they will.
	ErrNotCheckpointed = errors.New("plan is newer than the checkpoint")
)

// Options configure a store. Every field except Dir and QuarantineDir has a default, which its zero value selects.
type Options struct {
	Dir           string // Badger's folder, created if missing
	QuarantineDir string // for damaged stores and batches that cannot be applied; created when needed

	// CheckpointInterval is the time between checkpoints in Run; default 1 minute. Run makes a checkpoint earlier in
	// two cases: after a quarter of a million events, to bound the work of a replay, and if a deletion is waiting for a
	// checkpoint.
	CheckpointInterval time.Duration
	// LiveRowsMax limits the number of rows in memory; default 8,192. A row takes up about 1 to 3 KiB. If there are more rows, a
	// checkpoint is forced.
	LiveRowsMax int
	// MemTableBytes is the size of Badger's memtable; default 4 MiB. Up to three memtables are in memory, and a transaction can have at
	// most 15 % of the size of one.
	MemTableBytes int64
	// ReserveBytes is the size of the reserve file; default 4 MiB, negative for none. Its space allows the store to be
	// opened on a full disk.
	ReserveBytes int64
	// OpenFreeMin is the free disk space, in bytes, that is required to open the store; default 8 MiB, negative for no check. With less
	// free space, a write in Badger could kill the process with SIGBUS.
	OpenFreeMin int64
	// RefuseDamaged makes Open leave a damaged store in place and return an error that wraps [ErrDamaged]. It is for callers that only
	// read. If it is set, the ledger backup is neither restored nor written.
	RefuseDamaged bool
	// LedgersMax is the number of ledgers of retired epochs that are kept individually; default 1,000. Older ledgers are added up.
	LedgersMax int

	Now    func() time.Time // wall clock; default clock.Now
	Logger *slog.Logger     // default slog.Default
}

func (o *Options) setDefaults() error {
	if o.Dir == "" || o.QuarantineDir == "" {
		return fmt.Errorf("%w: store options need Dir and QuarantineDir", ErrInvalid)
	}
	o.Dir = filepath.Clean(o.Dir)
	setDefault(&o.CheckpointInterval, time.Minute)
	setDefault(&o.LiveRowsMax, 8192)
	setDefault(&o.MemTableBytes, 4<<20)
	setDefault(&o.ReserveBytes, 4<<20)
	setDefault(&o.OpenFreeMin, disk.StoreFreeMin)
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
