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

// SchemaVersion is the layout that this package writes. It reads all older ones. A number changes if an older wayside would damage the new
// layout, or count wrongly with it:
//
//   - 2 has sums of quarter days and packed days, which an older wayside leaves in place when it writes rows that are in them;
//   - 3 has the drops of each hour, which an older one does not write;
//   - 4 no longer has packed days, which an older one would find out of date;
//   - 5 records of each epoch where it began here, without which a refill counts events twice;
//   - 6 has rows with a route, whose names an older one cannot read, and minutes, which it does not write.
const SchemaVersion = 6

// MaxItems is the largest number of events in one batch. A batch fits into one transaction if its records are together at most 512 KiB. So
// do several megabytes of ordinary events, which compress to a sixth.
const MaxItems = 8192

// Errors that callers tell apart.
var (
	// ErrUnavailable means that the disk or the database refused: the batch is not to blame, and trying again later may help.
	ErrUnavailable = storeerr.ErrUnavailable
	// ErrFailed means that the outcome of a commit is unknown, and the store must be closed and opened again. It wraps ErrUnavailable.
	ErrFailed = fmt.Errorf("%w: a commit failed, the store must be opened again", ErrUnavailable)
	// ErrClosed means that the store has been closed. It wraps ErrUnavailable.
	ErrClosed = fmt.Errorf("%w: closed", ErrUnavailable)
	// ErrInUse means that another process has the store open.
	ErrInUse = errors.New("store is in use by another process")
	// ErrSchema means that a newer version of wayside wrote the data. Nothing was changed.
	ErrSchema = storeerr.ErrSchema
	// ErrDamaged means that the stored bytes differ from what was written; the error message says which.
	ErrDamaged = storeerr.ErrDamaged
	// ErrBatchTooLarge means that a batch does not fit into one transaction. Nothing was written; smaller batches may fit.
	ErrBatchTooLarge = errors.New("batch does not fit into one transaction")
	// ErrInvalid means that a batch or plan contradicts itself. Nothing was written.
	ErrInvalid = errors.New("invalid")
	// ErrNoPlan means that the catalogue has no such plan in a state that allows the step.
	ErrNoPlan = errors.New("no such plan")
	// ErrNotVerified means that a plan's object has not been verified, so its events may not be deleted.
	ErrNotVerified = errors.New("plan is not verified")
	// ErrNotCheckpointed means that the stored rows do not yet include a plan's events; after the next checkpoint they do.
	ErrNotCheckpointed = errors.New("plan is newer than the checkpoint")
)

// Options configure a store. The zero value of each field but Dir and QuarantineDir means the default named there.
type Options struct {
	Dir           string // Badger's folder, created if missing
	QuarantineDir string // for damaged stores and batches that cannot be applied; created when needed

	// CheckpointInterval is the time between checkpoints in Run; default 1 minute. Run makes one earlier after a quarter of a million events,
	// which bounds the work of a replay, or if a deletion waits for it.
	CheckpointInterval time.Duration
	// LiveRowsMax bounds the rows in memory; default 8,192, about 1 to 3 KiB each. Beyond it a checkpoint is forced.
	LiveRowsMax int
	// MemTableBytes is Badger's memtable; default 4 MiB. Up to three of them are in memory, and a transaction holds at
	// most 15 % of one.
	MemTableBytes int64
	// ReserveBytes is the size of the reserve file, whose space lets the store open on a full disk; default 4 MiB, negative for none.
	ReserveBytes int64
	// OpenFreeMin is the free disk space in bytes below which the store is not opened, because Badger would die of SIGBUS; default 8 MiB,
	// negative for no check.
	OpenFreeMin int64
	// RefuseDamaged makes Open leave a damaged store in place, and return an error that wraps [ErrDamaged]: for callers that only read. The
	// ledger backup is then neither restored nor written.
	RefuseDamaged bool
	// LedgersMax bounds the ledgers of retired epochs that are kept one by one; default 1,000. Older ones are summed.
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
