package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
)

func TestOpenNewerSchema(t *testing.T) {
	for _, where := range []string{"file", "key"} {
		t.Run(where, func(t *testing.T) {
			o := testOptions(t.TempDir())
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			apply(t, s, newTraffic(1).batch(10))
			if where == "key" {
				v := make([]byte, 12)
				binary.LittleEndian.PutUint32(v, SchemaVersion+1)
				if err := s.update(func(txn *badger.Txn) error { return set(txn, []byte{prefixSchema}, v) }); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(o.Dir, schemaFile)
			if where == "file" {
				if err := os.WriteFile(name, []byte("99 "+schemaSum("99")+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Open(o); !errors.Is(err, ErrSchema) {
				t.Fatal(err)
			}
			if badgerfiles.Exists(o.QuarantineDir) || !badgerfiles.Exists(name) {
				t.Error("a newer store was changed")
			}
		})
	}
}

// TestOpenOlderSchema: a store of an older version can be read, and has the current version afterwards. The packed days
// of version 3 are deleted, however many there are.
func TestOpenOlderSchema(t *testing.T) {
	for _, before := range []byte{1, 3} {
		t.Run(fmt.Sprintf("version %d", before), func(t *testing.T) { testOpenOlderSchema(t, before) })
	}
}

func testOpenOlderSchema(t *testing.T, before byte) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, newTraffic(1).batch(10))
	want := allRows(t, s)
	older := make([]byte, 12)
	older[0] = before
	if err := s.update(func(txn *badger.Txn) error {
		for name := range 2*spanChunk + 10 {
			pack := append(appendHourKey(nil, prefixPackRow, 20_000+int64(name%3)), fmt.Sprintf("\x01hGET/%d", name)...)
			if err := errors.Join(set(txn, pack, []byte("pack")), set(txn, appendHourKey(nil, prefixPack, 20_000), []byte{1})); err != nil {
				return err
			}
		}
		return set(txn, []byte{prefixSchema}, older)
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	version := strconv.Itoa(int(before))
	if err := os.WriteFile(filepath.Join(o.Dir, schemaFile), []byte(version+" "+schemaSum(version)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if diff := cmp.Diff(want, allRows(t, s)); diff != "" {
		t.Error(diff)
	}
	if version, err := s.checkSchema(); version != SchemaVersion || err != nil {
		t.Errorf("the store says version %d, %v", version, err)
	}
	if text, err := os.ReadFile(filepath.Join(o.Dir, schemaFile)); err != nil || !strings.HasPrefix(string(text), strconv.Itoa(SchemaVersion)+" ") {
		t.Errorf("the file says %q, %v", text, err)
	}
	for _, prefix := range []byte{prefixPack, prefixPackRow} {
		left := 0
		if err := s.view(func(txn *badger.Txn) error {
			return each(context.Background(), txn, []byte{prefix}, nil, func(_, _ []byte) error { left++; return nil })
		}); err != nil || left > 0 {
			t.Errorf("%d keys of packed days are left below %q, %v", left, prefix, err)
		}
	}
}
