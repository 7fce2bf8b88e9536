package store

import (
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

func blockIDs(t testing.TB, s *Store) (ids []catalogue.BlockID) {
	t.Helper()
	err := s.view(func(txn *badger.Txn) error {
		return eachKey(txn, []byte{prefixBlock}, func(key []byte) bool {
			id, err := parseBlockKey(key)
			if err != nil {
				t.Error(err)
			}
			ids = append(ids, id)
			return true
		})
	})
	if err != nil {
		t.Error(err)
	}
	return ids
}

func blockValue(t testing.TB, s *Store, id catalogue.BlockID) (value []byte) {
	t.Helper()
	err := s.view(func(txn *badger.Txn) error {
		_, err := get(txn, blockKey(prefixBlock, id), func(v []byte) error {
			value = append(value, v...)
			return nil
		})
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return value
}

func eachEvent(t testing.TB, s *Store, id catalogue.BlockID, fn func(seq uint64, k rowKey, e *event.Event)) {
	t.Helper()
	d, err := newBlockDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err = d.open(id, blockValue(t, s, id)); err == nil {
		err = d.each(id, func(seq uint64, key uint32, e *event.Event) error {
			fn(seq, d.columns.keys[key], e)
			return nil
		})
	}
	if err != nil {
		t.Error(err)
	}
}
