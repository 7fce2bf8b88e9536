package store

import (
	"context"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

func blockIDs(t testing.TB, s *Store) (ids []catalogue.BlockID) {
	t.Helper()
	err := s.view(func(txn *badger.Txn) error {
		return each(context.Background(), txn, []byte{prefixBlock}, nil, func(key, _ []byte) error {
			id, err := parseBlockKey(key)
			if err != nil {
				t.Error(err)
			}
			ids = append(ids, id)
			return nil
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

func eachEvent(t testing.TB, s *Store, id catalogue.BlockID, fn func(seq uint64, k catalogue.RowName, e *event.Event)) {
	t.Helper()
	d := block.NewDecoder()
	defer d.Close()
	err := d.Open(id, blockValue(t, s, id))
	if err == nil {
		err = d.Each(func(seq uint64, key uint32, e *event.Event) error {
			fn(seq, d.Keys()[key], e)
			return nil
		})
	}
	if err != nil {
		t.Error(err)
	}
}
