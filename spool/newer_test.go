package spool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// TestNewerFolderIsLeftAlone: a folder that a newer wayside wrote is refused, stays as it is byte for byte, and does not keep
// this one from recording; the newer one finds everything in it.
func TestNewerFolderIsLeftAlone(t *testing.T) {
	const segmentVersionAt, segmentSumAt, headerCopyAt, pageVersionAt, pageSumAt = 8, 60, 2048, 8, 32
	cases := []struct {
		name  string
		raise func(t *testing.T, dir string, by uint32)
	}{
		{"journal", func(t *testing.T, dir string, by uint32) {
			for _, name := range glob(dir, "journal-*.seg") {
				raise(t, name, by, segmentVersionAt, segmentSumAt, 0)
				raise(t, name, by, segmentVersionAt, segmentSumAt, headerCopyAt)
			}
		}},
		{"ledger", func(t *testing.T, dir string, by uint32) {
			raise(t, filepath.Join(dir, "ledger"), by, pageVersionAt, pageSumAt, 0)
		}},
		{"queue", raiseQueue},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			dir, want := leftBehind(t, o)
			c.raise(t, dir, 1)
			before := contents(t, dir)
			s := openSet(t, o)
			if l := checkLedgers(t, s); len(l) != 1 {
				t.Fatalf("ledgers %+v", l)
			}
			wantEvents(t, drain(t, s), nil)
			recorded := appendN(t, s, 0, 10)
			mustFlush(t, s)
			wantEvents(t, drain(t, s), recorded)
			if after := contents(t, dir); !maps.Equal(before, after) {
				t.Fatalf("the folder changed: %d files, were %d", len(after), len(before))
			}
			if len(verifyDir(t, o, nil)) == 0 {
				t.Fatal("verify has nothing to say of a folder that this version cannot read")
			}
			online, err := s.Verify(t.Context())
			if err != nil || online[1].Found != 1 || !strings.Contains(online[1].Problems[0], dir) {
				t.Fatalf("verify of a running spool beside it: %v, %+v", err, online[1])
			}
			c.raise(t, dir, ^uint32(0)) // back to the version of this one
			if err := inStep(s, s.committer.reopen); err != nil {
				t.Fatal(err)
			}
			wantEvents(t, drain(t, s), want)
		})
	}
}

// raise adds to a version, of a file that was in use, and mends the checksum that covers it.
func raise(t *testing.T, name string, by uint32, versionAt, sumAt, from int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	h := b[from:]
	version := binary.LittleEndian.Uint32(h[versionAt:])
	if version == 0 {
		return
	}
	binary.LittleEndian.PutUint32(h[versionAt:], version+by)
	binary.LittleEndian.PutUint32(h[sumAt:], crc32.Checksum(h[:sumAt], castagnoli))
	write(t, name, b)
}

func raiseQueue(t *testing.T, dir string, by uint32) {
	db, err := bolt.Open(filepath.Join(dir, "queue.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		var m queue.State
		metas := tx.Bucket([]byte("meta"))
		if err := json.Unmarshal(metas.Get([]byte("state")), &m); err != nil {
			return err
		}
		m.Version += 2 * int(int32(by)) //nolint:gosec // 1 or -1; 1 is of this version, and so is 2
		text, err := json.Marshal(&m)
		if err != nil {
			return err
		}
		return errors.Join(metas.Put([]byte("state"), text), metas.Put([]byte("state.crc32c"), binary.LittleEndian.AppendUint32(nil, crc32.Checksum(text, castagnoli))))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents maps the names of a folder's files to what is in them; the lock, which belongs to whoever looks, left out.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range glob(dir, "*") {
		if filepath.Base(name) == "lock" {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = string(b)
	}
	return out
}
