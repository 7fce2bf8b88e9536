package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/disk"
	"github.com/wayside-proxy/wayside/internal/memfault"
)

// openingDeathsMax is the number of consecutive processes that may die while opening a file before the file counts as damaged. One process
// may have been killed by chance at that moment, but a file that crashes bbolt does so every time.
const openingDeathsMax = 2

func (o *Options) bolt(bytesMax int64) *bolt.Options {
	open := o.OpenFile
	if open == nil {
		open = os.OpenFile
	}
	return &bolt.Options{
		Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
		OpenFile: open, MaxSize: int(bytesMax), NoStatistics: true,
	}
}

// Create creates a file under a temporary name, syncs it, and renames it, so that a power cut leaves a complete file or none.
func Create(o Options, dir string, number int, s *State) (f *File, err error) {
	name := Name(dir, number)
	aside := name + ".new"
	_ = os.Remove(aside)
	defer func() {
		if err != nil {
			_ = os.Remove(aside)
			err = fmt.Errorf("create queue %s: %w", name, err)
		}
	}()
	err = memfault.CatchError(func() error {
		db, err := bolt.Open(aside, 0o600, o.bolt(0))
		if err != nil {
			return err
		}
		return errors.Join((&File{db: db}).Commit(Change{State: s}), db.Close())
	})
	if err == nil {
		err = os.Rename(aside, name)
	}
	if err == nil {
		err = disk.SyncDir(dir)
	}
	if err != nil {
		return nil, err
	}
	return openForWriting(o, dir, number)
}

// openForWriting opens a file that is known to be undamaged.
func openForWriting(o Options, dir string, number int) (*File, error) {
	f := &File{name: Name(dir, number), number: number}
	err := memfault.CatchError(func() (err error) {
		f.db, err = bolt.Open(f.name, 0o600, o.bolt(o.BytesMax))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open queue %s: %w", f.name, err)
	}
	f.db.AllocSize = allocBytes(o.BytesMax)
	return f, nil
}

// openForReading opens a file and reads the state and the index. An error that wraps neither [ErrDamaged] nor [ErrNewer] means that the file may
// be readable later.
func openForReading(o Options, dir string, number int, epoch uuid.UUID) (f *File, s *State, index []Batch, err error) {
	f = &File{name: Name(dir, number), number: number}
	f.retired.Store(true)
	info, err := os.Stat(f.name)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open queue: %w", err)
	}
	if info.Size() == 0 { // bbolt would create a new file in it
		return nil, nil, nil, fmt.Errorf("open queue %s: %w: empty", f.name, ErrDamaged)
	}
	err = memfault.CatchError(func() (err error) {
		opts := o.bolt(0)
		opts.ReadOnly = true
		f.db, err = bolt.Open(f.name, 0o400, opts)
		return err
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open queue %s: %w", f.name, damageError(err))
	}
	if s, index, err = f.load(epoch); err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("read queue %s: %w", f.name, damageError(err)), f.Close())
	}
	return f, s, index, nil
}

// load reads the state, which is nil if it is damaged, and the index. It reads only the headers of the values.
func (f *File) load(epoch uuid.UUID) (s *State, index []Batch, err error) {
	err = f.view(func(tx *bolt.Tx) error {
		metas, batches := tx.Bucket(bucketMeta), tx.Bucket(bucketBatches)
		if metas == nil || batches == nil {
			return fmt.Errorf("%w: buckets are missing", ErrDamaged)
		}
		var err error
		if s, err = readState(metas, epoch); err != nil {
			return err
		}
		var before []byte
		return batches.ForEach(func(k, v []byte) error {
			b, ok := foundBatch(epoch, k, v)
			// bbolt cannot find keys that are out of order. When it opens such a file for writing, it panics in its own goroutine.
			if !ok || bytes.Compare(k, before) <= 0 {
				return fmt.Errorf("%w: key %x after %x", ErrDamaged, k, before)
			}
			before = k
			index = append(index, b)
			return nil
		})
	})
	return s, index, err
}

// Inspect calls fn with the state, which is nil if it is damaged, and the index of a file that no process has open. The file remains open
// during the call and is not changed.
func Inspect(dir string, number int, epoch uuid.UUID, fn func(f *File, s *State, index []Batch)) error {
	f, s, index, err := openForReading(Options{}, dir, number, epoch)
	if err != nil {
		return err
	}
	fn(f, s, index)
	return f.Close()
}

// Open opens a file left by a dead process. It returns the state, which is nil if it is damaged, and the index. If this process has no
// permission to write the file, Open returns it as a retired file. An error that wraps neither [ErrDamaged] nor [ErrNewer] means that the
// file may be readable later.
//
// Open reads the file once before it opens it for writing. When bbolt opens a file for writing, it starts a goroutine, and if a damaged page
// makes that goroutine panic, the panic cannot be recovered. The first pass reads the same pages in the caller's goroutine.
func Open(o Options, dir string, number int, epoch uuid.UUID) (f *File, s *State, index []Batch, err error) {
	marker := Name(dir, number) + ".opening"
	deaths := 0
	if text, err := os.ReadFile(marker); err == nil {
		deaths, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if deaths >= openingDeathsMax {
		_ = os.Remove(marker)
		return nil, nil, nil, fmt.Errorf("%w: %d processes died while opening it", ErrDamaged, deaths)
	}
	if os.WriteFile(marker, []byte(strconv.Itoa(deaths+1)), 0o600) == nil { // fails on a full or read-only disk
		defer func() { _ = os.Remove(marker) }()
	}
	f, s, index, err = openForReading(o, dir, number, epoch)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := f.Close(); err != nil {
		return nil, nil, nil, err
	}
	writable, err := openForWriting(o, dir, number)
	if errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
		return openForReading(o, dir, number, epoch)
	}
	return writable, s, index, damageError(err)
}
