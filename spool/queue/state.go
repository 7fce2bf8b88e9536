package queue

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/wayside-proxy/wayside/internal/crc32c"
)

// Versions of [State].
const (
	Version = 1
	// VersionExpired is the version of a queue from which batches have expired. It stops an older wayside, which would count wrongly,
	// from opening the queue.
	VersionExpired = 2
)

var (
	bucketBatches = []byte("batches")
	bucketMeta    = []byte("meta")
	keyState      = []byte("state")
	keyStateSum   = []byte("state.crc32c") // missing in older queues
)

// State is committed with each change. Its figures are totals since the epoch began. Its JSON encoding is part of the format.
type State struct {
	Version        int               `json:"version"`
	Epoch          uuid.UUID         `json:"epoch"`
	Generation     uint64            `json:"generation"` // generation of the last journal segment in the queue
	LastSeq        uint64            `json:"last_seq"`
	Recorded       uint64            `json:"recorded"` // responses committed, including acknowledged ones
	Acked          uint64            `json:"acked"`
	AckedResponses uint64            `json:"acked_responses"`
	Excluded       uint64            `json:"excluded"`
	Dropped        map[string]uint64 `json:"dropped,omitempty"`
	Expired        uint64            `json:"given_up,omitempty"` // all events up to this seq that were not acknowledged have expired
	Reported       map[string]uint64 `json:"told,omitempty"`     // the part of Dropped already reported in drop records
}

func stateSum(state []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32c.Sum(state))
}

// readState returns nil without an error if the state is damaged: the ledger page has the same figures.
func readState(metas *bolt.Bucket, epoch uuid.UUID) (*State, error) {
	text, sum, s := metas.Get(keyState), metas.Get(keyStateSum), new(State)
	err := json.Unmarshal(text, s)
	switch {
	case sum != nil && !bytes.Equal(sum, stateSum(text)):
		return nil, nil
	case err == nil && s.Version > VersionExpired:
		return nil, fmt.Errorf("%w: the queue has version %d, but this wayside supports only up to %d", ErrNewer, s.Version, VersionExpired)
	case err != nil:
		return nil, fmt.Errorf("%w: state: %w", ErrDamaged, err)
	case s.Epoch != epoch:
		return nil, fmt.Errorf("%w: state of epoch %s", ErrDamaged, s.Epoch)
	}
	return s, nil
}
