package store

import (
	"encoding/json"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// Job returns what is remembered of a scheduled job; a zero state if nothing is.
func (s *Store) Job(name string) (state catalogue.JobState, err error) {
	if err := s.enter(); err != nil {
		return state, err
	}
	defer s.leave()
	err = s.view(func(txn *badger.Txn) error {
		_, err := get(txn, append([]byte{prefixJob}, name...), func(v []byte) error {
			if err := json.Unmarshal(v, &state); err != nil {
				return fmt.Errorf("%w: state of job %s: %w", ErrDamaged, name, err)
			}
			return nil
		})
		return err
	})
	return state, err
}

// SetJob remembers the state of a scheduled job, synced.
func (s *Store) SetJob(name string, state catalogue.JobState) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode state of job %s: %w", name, err)
	}
	return s.update(func(txn *badger.Txn) error { return set(txn, append([]byte{prefixJob}, name...), text) })
}
