package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
)

const (
	metaVersion    = 1
	metaVersionAge = 2 // of a queue from which something was given up for its age: who does not know that would count wrongly
	keyBytes       = 24
	lockTimeout    = time.Second // a queue file is locked by nobody else while we hold the folder's lock
)

var (
	bucketBatches = []byte("batches")
	bucketMeta    = []byte("meta")
	keyState      = []byte("state")
	keyStateSum   = []byte("state.crc32c") // little endian; queues of before have none

	errPanicked = errors.New("panic")
	errDamaged  = errors.New("damaged queue file")
	errStuck    = errors.New("queue file is stuck after a fault")
	errNewer    = errors.New("written by a newer wayside; start that version again, it can go on with this folder")
)

// meta is the state that each commit writes. The figures are cumulative for the epoch.
type meta struct {
	Version        int               `json:"version"`
	Epoch          uuid.UUID         `json:"epoch"`
	Generation     uint64            `json:"generation"` // journal segments up to it are in the queue
	LastSeq        uint64            `json:"last_seq"`
	Recorded       uint64            `json:"recorded"` // responses committed, acknowledged ones included
	Acked          uint64            `json:"acked"`
	AckedResponses uint64            `json:"acked_responses"`
	Excluded       uint64            `json:"excluded"`
	Dropped        map[string]uint64 `json:"dropped,omitempty"`
	GivenUp        uint64            `json:"given_up,omitempty"` // what was up to it, and not acknowledged, was given up for its age
	Told           map[string]uint64 `json:"told,omitempty"`     // what of Dropped drop records have told
}

// entry is a committed batch as the index knows it.
type entry struct {
	first, last        uint64
	records, responses uint32
	size               int
	file               *queueFile // nil when the batch is held in memory only
	cached             []byte     // immutable; nil when the value must be read from file
	at                 time.Time  // recording moment of its first event, or when it was found
	stored             []byte     // its key in the file, where that is damaged; nil otherwise
}

func (e *entry) key() []byte {
	if e.stored != nil {
		return e.stored
	}
	k := make([]byte, 0, keyBytes)
	k = binary.BigEndian.AppendUint64(k, e.first)
	k = binary.BigEndian.AppendUint64(k, e.last)
	k = binary.BigEndian.AppendUint32(k, e.records)
	return binary.BigEndian.AppendUint32(k, e.responses)
}

func entryOf(k []byte) (e entry, ok bool) {
	if len(k) != keyBytes {
		return e, false
	}
	e.first, e.last = binary.BigEndian.Uint64(k), binary.BigEndian.Uint64(k[8:])
	e.records, e.responses = binary.BigEndian.Uint32(k[16:]), binary.BigEndian.Uint32(k[20:])
	return e, e.first > 0 && e.first <= e.last && e.records > 0 && e.responses <= e.records
}

// queueFile is one bbolt file. Only the committer writes.
type queueFile struct {
	db       *bolt.DB
	name     string
	number   int
	readOnly bool // opened so, or failed since: never written again

	// stuck says that a fault struck while bbolt held one of its locks: no call may enter it again, not even Close.
	stuck atomic.Bool
}

func queueName(dir string, number int) string {
	if number == 0 {
		return filepath.Join(dir, "queue.db")
	}
	return filepath.Join(dir, fmt.Sprintf("queue-%d.db", number))
}

func boltOptions(o *Options, max int64) *bolt.Options {
	return &bolt.Options{
		Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
		OpenFile: o.OpenFile, MaxSize: int(max), NoStatistics: true,
	}
}

// createQueue makes a queue file aside, syncs it, and moves it into place, so that a power cut leaves all of it or
// nothing.
func createQueue(o *Options, dir string, number int, m *meta) (q *queueFile, err error) {
	name := queueName(dir, number)
	aside := name + ".new"
	_ = os.Remove(aside)
	defer func() {
		if err != nil {
			_ = os.Remove(aside)
			err = fmt.Errorf("create queue %s: %w", name, err)
		}
	}()
	err = guardErr(func() error {
		db, err := bolt.Open(aside, 0o600, boltOptions(o, 0))
		if err != nil {
			return err
		}
		err = (&queueFile{db: db}).commit(nil, nil, m)
		return errors.Join(err, db.Close())
	})
	if err != nil {
		return nil, err
	}
	if err = os.Rename(aside, name); err != nil {
		return nil, err
	}
	if err = syncDir(dir); err != nil {
		return nil, err
	}
	return openQueue(o, dir, number, o.QueueBytesMax)
}

// openQueue opens an existing queue file for writing.
func openQueue(o *Options, dir string, number int, maxBytes int64) (*queueFile, error) {
	q := &queueFile{name: queueName(dir, number), number: number}
	err := guardErr(func() (err error) {
		q.db, err = bolt.Open(q.name, 0o600, boltOptions(o, maxBytes))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open queue %s: %w", q.name, err)
	}
	q.db.AllocSize = allocBytes(maxBytes)
	return q, nil
}

// put is a batch to be committed.
type put struct{ key, value []byte }

// commit writes batches, deletes keys and stores the state, in one synced transaction.
func (q *queueFile) commit(puts []put, deletes [][]byte, m *meta) error {
	if q.stuck.Load() {
		return errStuck
	}
	held := true // the writer's lock, as far as is known
	err := guardErr(func() error { return q.commitTx(puts, deletes, m, &held) })
	if held {
		q.stuck.Store(true)
	}
	return err
}

func (q *queueFile) commitTx(puts []put, deletes [][]byte, m *meta, held *bool) (err error) {
	state, err := json.Marshal(m)
	if err != nil {
		*held = false
		return fmt.Errorf("encode state: %w", err)
	}
	tx, err := q.db.Begin(true)
	if err != nil {
		*held = false
		return err
	}
	defer func() { *held = guard(func() { _ = tx.Rollback() }) != nil }() // does nothing after a commit
	batches, err := tx.CreateBucketIfNotExists(bucketBatches)
	if err != nil {
		return err
	}
	metas, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	for _, k := range deletes {
		if err := batches.Delete(k); err != nil {
			return err
		}
	}
	batches.FillPercent = 1 // keys ascend
	for _, p := range puts {
		if err := batches.Put(p.key, p.value); err != nil {
			return err
		}
	}
	if err := metas.Put(keyState, state); err != nil {
		return err
	}
	if err := metas.Put(keyStateSum, stateSum(state)); err != nil {
		return err
	}
	crash.Point("spool.commit.before")
	if err := tx.Commit(); err != nil {
		return err
	}
	crash.Point("spool.commit.after")
	return nil
}

func stateSum(state []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(state, castagnoli))
}

// load reads state and index, and of the values no more than their headers. A state that is damaged is nil: the ledger page has its
// figures as well.
func (q *queueFile) load(epoch uuid.UUID, found time.Time) (m *meta, index []entry, err error) {
	err = q.view(func(tx *bolt.Tx) error {
		metas, batches := tx.Bucket(bucketMeta), tx.Bucket(bucketBatches)
		if metas == nil || batches == nil {
			return fmt.Errorf("%w: buckets are missing", errDamaged)
		}
		var err error
		if m, err = stateOf(metas, epoch); err != nil {
			return err
		}
		var before []byte
		return batches.ForEach(func(k, v []byte) error {
			e, ok := foundEntry(epoch, k, v)
			// Out of order, bbolt finds no key; and to write, it would open the file with a goroutine that this makes panic.
			if !ok || bytes.Compare(k, before) <= 0 {
				return fmt.Errorf("%w: key %x behind %x", errDamaged, k, before)
			}
			before = k
			e.file, e.size, e.at = q, len(v), found
			index = append(index, e)
			return nil
		})
	})
	return m, index, err
}

func stateOf(metas *bolt.Bucket, epoch uuid.UUID) (*meta, error) {
	state, sum, m := metas.Get(keyState), metas.Get(keyStateSum), new(meta)
	err := json.Unmarshal(state, m)
	switch {
	case sum != nil && !bytes.Equal(sum, stateSum(state)):
		return nil, nil //nolint:nilnil // documented in load
	case err == nil && m.Version > metaVersionAge:
		return nil, fmt.Errorf("%w: queue of version %d, this wayside knows %d", errNewer, m.Version, metaVersionAge)
	case err != nil:
		return nil, fmt.Errorf("%w: state: %w", errDamaged, err)
	case m.Epoch != epoch:
		return nil, fmt.Errorf("%w: state of epoch %s", errDamaged, m.Epoch)
	}
	return m, nil
}

// foundEntry is the entry of a batch. Its key has no checksum of its own, but says what the batch's header says too; where they differ,
// the batch decides if it is whole.
func foundEntry(epoch uuid.UUID, key, value []byte) (e entry, ok bool) {
	e, ok = entryOf(key)
	h, long := event.BatchHeader(value)
	if ok && long && e.first == h.FirstSeq && e.last == h.LastSeq && e.records == h.Records && e.responses == h.Responses {
		return e, true
	}
	b, err := event.ParseBatch(value)
	if err != nil || b.Epoch != epoch {
		return e, ok // what is damaged is the batch, which shows when it is read
	}
	return entry{first: b.FirstSeq, last: b.LastSeq, records: b.Records, responses: b.Responses, stored: bytes.Clone(key)}, true
}

// read returns a copy of a value; nil without error if the key is gone.
func (q *queueFile) read(key []byte) (value []byte, err error) {
	err = q.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketBatches); b != nil {
			if v := b.Get(key); v != nil {
				value = append(make([]byte, 0, len(v)), v...)
			}
		}
		return nil
	})
	return value, err
}

// view runs fn in a read transaction and survives faults in it.
func (q *queueFile) view(fn func(*bolt.Tx) error) error {
	if q.stuck.Load() {
		return errStuck
	}
	begun := false // a panic from then on ends the transaction in order
	err := guardErr(func() error {
		return q.db.View(func(tx *bolt.Tx) error {
			begun = true
			return fn(tx)
		})
	})
	if !begun && errors.Is(err, errPanicked) {
		q.stuck.Store(true)
	}
	return err
}

func (q *queueFile) bytes() int64 {
	info, err := os.Stat(q.name)
	if err != nil {
		return 0
	}
	return info.Size()
}

// close releases the file; a stuck one is left to the end of the process.
func (q *queueFile) close() error {
	if q.stuck.Load() {
		return nil
	}
	return guardErr(q.db.Close)
}

// isFull tells a disk or a queue that has no room, which leaves the file as it was, from a file that failed.
func isFull(err error) bool {
	if errors.Is(err, berrors.ErrMaxSizeReached) {
		return true
	}
	var path *fs.PathError
	if errors.As(err, &path) && path.Op == "write" {
		return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
	}
	if err == nil || !strings.HasPrefix(err.Error(), "file resize error") {
		return false
	}
	for _, errno := range []syscall.Errno{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		if strings.HasSuffix(err.Error(), errno.Error()) { // bbolt formats this one with %s
			return true
		}
	}
	return false
}

// guardErr is guard for functions with an error of their own.
func guardErr(fn func() error) (err error) {
	if p := guard(func() { err = fn() }); p != nil {
		return p
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }
