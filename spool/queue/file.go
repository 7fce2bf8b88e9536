package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/memfault"
)

// lockTimeout limits the wait for a file's lock. The caller holds the lock of the folder, so no other process should have it.
const lockTimeout = time.Second

// Options configures how a file is opened.
type Options struct {
	OpenFile func(name string, flag int, perm os.FileMode) (*os.File, error) // nil means os.OpenFile
	BytesMax int64                                                           // the size up to which a file may grow; 0 means no limit
}

// File is one queue file. Commit and Limit must not be called concurrently; the other methods are safe for concurrent use.
type File struct {
	db     *bolt.DB
	name   string
	number int

	retired atomic.Bool
	stuck   atomic.Bool // a fault occurred while bbolt held one of its locks: bbolt must not be called again, not even to close the file

	touched atomic.Int64 // bytes of values read or written since the last releasePages

	mu       sync.Mutex
	removals []Batch // guarded by mu: to be removed by a later Commit
}

// Name returns the path of the queue file with this number in a folder.
func Name(dir string, number int) string {
	if number == 0 {
		return filepath.Join(dir, "queue.db")
	}
	return filepath.Join(dir, fmt.Sprintf("queue-%d.db", number))
}

// Numbers returns the numbers of the queue files in a folder, in ascending order.
func Numbers(dir string) []int {
	names, _ := filepath.Glob(filepath.Join(dir, "queue*.db")) // the pattern is a constant
	var out []int
	for _, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), ".db")
		number, err := strconv.Atoi(strings.TrimPrefix(base, "queue-"))
		if base == "queue" {
			number, err = 0, nil
		}
		if err == nil && Name(dir, number) == name {
			out = append(out, number)
		}
	}
	sort.Ints(out)
	return out
}

// RemoveUnfinished removes files whose creation was not completed. They contain no batches.
func RemoveUnfinished(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, "queue*.new")) // the pattern is a constant
	for _, name := range names {
		_ = os.Remove(name) // if it remains, Create removes it
	}
}

// Name returns the path of the file.
func (f *File) Name() string { return f.name }

// Number returns the file's number; newer files in a folder have higher ones.
func (f *File) Number() int { return f.number }

// Writable reports whether the file accepts commits.
func (f *File) Writable() bool { return !f.retired.Load() }

// Retire makes the file permanently read-only.
func (f *File) Retire() {
	f.retired.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removals = nil // the file will be removed as a whole
}

// Remove marks a batch for removal by a later Commit. On a retired file it does nothing.
func (f *File) Remove(b *Batch) {
	if f.retired.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removals = append(f.removals, *b)
}

// Removals returns the number of batches marked by Remove. The caller must hold one lock while it calls Removals and determines the
// state to commit. Otherwise, a commit could remove a batch that its state does not count as acknowledged, and the batch would count as
// lost after a crash.
func (f *File) Removals() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.removals)
}

// Change is one transaction.
type Change struct {
	Batch    *Batch  // stored with Value, if not nil
	Value    []byte  // an event.Batch
	Removals int     // how many of the batches marked by Remove to remove, oldest first
	Remove   []Batch // additional batches to remove
	State    *State
}

// Commit makes a change durable. If the error wraps [ErrFull], nothing has changed.
func (f *File) Commit(c Change) error {
	if f.stuck.Load() {
		return errStuck
	}
	f.mu.Lock()
	noted := min(c.Removals, len(f.removals))
	gone := append(f.removals[:noted:noted], c.Remove...)
	f.mu.Unlock()
	locked := true // whether bbolt may still hold its write lock
	err := memfault.CatchError(func() error { return f.commit(&c, gone, &locked) })
	if locked {
		f.stuck.Store(true)
	}
	if err != nil {
		return fullError(err)
	}
	f.mu.Lock()
	f.removals = f.removals[min(noted, len(f.removals)):] // Retire may have cleared the list in the meantime
	f.mu.Unlock()
	f.touch(len(c.Value))
	return nil
}

func (f *File) commit(c *Change, gone []Batch, locked *bool) (err error) {
	state, err := json.Marshal(c.State)
	if err != nil {
		*locked = false
		return fmt.Errorf("encode state: %w", err)
	}
	tx, err := f.db.Begin(true)
	if err != nil {
		*locked = false
		return err
	}
	defer func() { *locked = memfault.Catch(func() { _ = tx.Rollback() }) != nil }() // Rollback does nothing after a commit
	batches, err := tx.CreateBucketIfNotExists(bucketBatches)
	if err != nil {
		return err
	}
	metas, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	var errs []error
	for i := range gone {
		errs = append(errs, batches.Delete(gone[i].Key()))
	}
	batches.FillPercent = 1 // keys ascend
	if c.Batch != nil {
		errs = append(errs, batches.Put(c.Batch.Key(), c.Value))
	}
	errs = append(errs, metas.Put(keyState, state), metas.Put(keyStateSum, stateSum(state)))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	crash.Point("spool.commit.before")
	if err := tx.Commit(); err != nil {
		return err
	}
	crash.Point("spool.commit.after")
	return nil
}

// Read returns a copy of a batch's value, or nil without an error if the batch has been removed.
func (f *File) Read(b *Batch) (value []byte, err error) {
	err = f.view(func(tx *bolt.Tx) error {
		if batches := tx.Bucket(bucketBatches); batches != nil {
			if v := batches.Get(b.Key()); v != nil {
				value = append(make([]byte, 0, len(v)), v...)
			}
		}
		return nil
	})
	f.touch(len(value))
	return value, err
}

// view runs fn in a read transaction. It returns a fault of mapped memory as an error.
func (f *File) view(fn func(*bolt.Tx) error) error {
	if f.stuck.Load() {
		return errStuck
	}
	begun := false // if it is set, View ends the transaction even if fn panics
	err := memfault.CatchError(func() error {
		return f.db.View(func(tx *bolt.Tx) error {
			begun = true
			return fn(tx)
		})
	})
	if !begun && errors.Is(err, memfault.ErrPanic) {
		f.stuck.Store(true)
	}
	return err
}

// Bytes returns the size of the file on disk.
func (f *File) Bytes() int64 {
	info, err := os.Stat(f.name)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Limit sets the size up to which the file may grow. bbolt's files never shrink: a file that is larger accepts only batches that fit into
// its free pages.
func (f *File) Limit(bytesMax int64) {
	f.db.MaxSize, f.db.AllocSize = int(bytesMax), allocBytes(bytesMax)
}

// allocBytes returns the number of bytes by which a file with this limit grows at a time.
func allocBytes(bytesMax int64) int { return int(min(max(bytesMax/16, 64<<10), 1<<20)) }

// Close closes the file. A stuck file remains open until the process ends.
func (f *File) Close() error {
	if f.stuck.Load() {
		return nil
	}
	return memfault.CatchError(f.db.Close)
}
