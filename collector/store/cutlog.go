package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
)

// Badger cuts the last log off where it is damaged and opens what is left without a word: the store of an earlier moment. What
// it had archived since is not in its catalogue, and events that it had archived and removed are there again. So everything
// is in doubt, and the archive is asked before anything is archived.
//
// A process that died while it wrote may leave the same picture. Then the question is asked for nothing.

// cutFile remembers, until the store does, that the store may be one of an earlier moment: once Badger has cut the log, nothing
// shows it.
func cutFile(o *Options) string { return o.Dir + ".cut" }

// lookForCut reports whether the store may be one of an earlier moment. It must be called before Badger opens the store.
func lookForCut(o *Options) (bool, error) {
	if exists(cutFile(o)) {
		return true, nil
	}
	names := logFiles(o.Dir)
	if len(names) == 0 {
		return false, nil
	}
	body, err := os.ReadFile(names[len(names)-1])
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	// Badger makes a log with twice the size of a memtable, and cuts it to what is used when it opens it.
	if _, whole := logEnd(body); whole && int64(len(body)) >= 2*o.MemTableBytes {
		return false, nil
	}
	if err := writeFileSynced(cutFile(o), nil); err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return true, nil
}

// doubtEverything puts every epoch in doubt: those that the store knows for good, any other until the spools have said which
// there are.
func (s *Store) doubtEverything() error {
	known := make(map[uuid.UUID]byte, len(s.watermarks))
	err := s.update(func(txn *badger.Txn) error {
		for epoch := range s.watermarks {
			known[epoch] = doubtOpen
			if err := set(txn, epochKey(prefixDoubt, epoch), []byte{doubtOpen}); err != nil {
				return err
			}
		}
		return set(txn, []byte{prefixDoubt}, nil)
	})
	if err != nil {
		return fmt.Errorf("note that the archive may hold more than the catalogue: %w", err)
	}
	s.doubts, s.doubtAll = known, true
	return nil
}

// logHeadBytes is what stands before the first entry of a log: number of a key (none here), and a nonce.
const logHeadBytes = 20

// logEnd walks the entries of a log and returns where they end, and whether nothing but zeros follows.
func logEnd(body []byte) (end int, whole bool) {
	zeros := func(from int) bool { return len(bytes.TrimLeft(body[min(from, len(body)):], "\x00")) == 0 }
	if len(body) < logHeadBytes || !bytes.Equal(body[:8], make([]byte, 8)) {
		return 0, zeros(0)
	}
	for end = logHeadBytes; ; {
		in := reader{rest: body[end:]}
		in.bytes(2) // meta
		key, value := in.uvarint(), in.uvarint()
		in.uvarint() // expires
		if in.bad || key == 0 || key > uint64(len(in.rest)) || value > uint64(len(in.rest)) {
			return end, zeros(end)
		}
		in.bytes(int(key + value)) //nolint:gosec // bounded above
		size := len(body) - end - len(in.rest)
		sum := in.bytes(4)
		if in.bad || binary.BigEndian.Uint32(sum) != crc32.Checksum(body[end:end+size], castagnoli) {
			return end, zeros(end)
		}
		end += size + 4
	}
}
