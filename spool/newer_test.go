package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// TestNewerFolderIsLeftAlone: a folder that a newer wayside wrote is refused and stays the same, byte for byte. This version still records to
// a folder of its own, and the newer version later finds everything in its folder.
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
			c.raise(t, dir, ^uint32(0)) // back to this wayside's version
			if err := inStep(s, s.committer.reopen); err != nil {
				t.Fatal(err)
			}
			wantEvents(t, drain(t, s), want)
		})
	}
}

// TestNewerEventsAreLeftAlone: events of a newer version in a folder of this version are neither delivered nor lost, and do not expire. The
// events before them and those in other epochs are delivered. The figures count them as spooled, status and verification report them, and
// the newer wayside delivers them.
func TestNewerEventsAreLeftAlone(t *testing.T) {
	o := testOptions(t.TempDir())
	now := time.Now()
	o.AgeMax, o.Now = time.Hour, func() time.Time { return now }
	s := openSet(t, o)
	want := map[id]uint64{}
	for i := range 3 {
		merge(want, appendN(t, s, 100*i, 100))
		mustFlush(t, s)
	}
	merge(want, appendN(t, s, 300, 50))
	abandon(t, s)
	epoch, dir := s.Epoch(), s.current.dir
	versionOfRecord(t, dir, epoch, 150, event.Version+1)

	s = openSet(t, o)
	for range 2 { // the second Peek does not read or log it again
		before, after := map[id]uint64{}, appendN(t, s, 1000, 10)
		for key, n := range want {
			if key.seq <= 100 {
				before[key] = n
				delete(want, key)
			}
		}
		merge(before, after)
		mustFlush(t, s)
		wantEvents(t, drain(t, s), before)
	}
	now = now.Add(o.AgeMax + holdMax)
	if err := inStep(s, s.committer.expire); err != nil {
		t.Fatal(err)
	}
	if l := checkLedgers(t, s)[0]; l.Epoch != epoch || l.Recorded != 350 || l.Spooled != 250 || len(l.Dropped) > 0 {
		t.Fatalf("ledger %+v", l)
	}
	if st := s.Status(); st.NewerEpochs != 1 || st.QuarantinedFiles != 0 || st.PendingEvents != 250 {
		t.Fatalf("status %+v", st)
	}
	if err := s.Retire(t.Context(), epoch); !errors.Is(err, ErrNotDrained) {
		t.Fatal(err)
	}
	wantNewer := func(problems []string) {
		t.Helper()
		if len(problems) != 1 || !strings.Contains(problems[0], event.ErrVersion.Error()) {
			t.Fatalf("verify says %q", problems)
		}
	}
	online, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantNewer(append(online[0].Problems, online[1].Problems...))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantNewer(verifyDir(t, o, nil))
	versionOfRecord(t, dir, epoch, 150, 1) // now this wayside can read it, as the newer one would
	s = openSet(t, o)
	wantEvents(t, drain(t, s), want)
	if st := s.Status(); st.NewerEpochs != 0 {
		t.Fatalf("status %+v", st)
	}
}

// versionOfRecord sets the version of a record in the queue, and corrects the checksum of the record's batch.
func versionOfRecord(t *testing.T, dir string, epoch uuid.UUID, seq uint64, version byte) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "queue.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	err = db.Update(func(tx *bolt.Tx) error {
		batches := tx.Bucket([]byte("batches"))
		return batches.ForEach(func(key, value []byte) error {
			b, err := event.ParseBatch(value)
			if err != nil || seq < b.FirstSeq || seq > b.LastSeq {
				return err
			}
			builder := event.NewBatchBuilder(epoch)
			for at, record := range b.All() {
				record = bytes.Clone(record)
				if at == seq {
					record[0], found = version, true
				}
				err = errors.Join(err, builder.Add(at, record, event.IsResponseRecord(record)))
			}
			return errors.Join(err, batches.Put(bytes.Clone(key), builder.Bytes()))
		})
	})
	if err := errors.Join(err, db.Close()); err != nil || !found {
		t.Fatal(found, err)
	}
}

// raise increases a version number in a file, and corrects the checksum that covers it.
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
	binary.LittleEndian.PutUint32(h[sumAt:], crc32c.Sum(h[:sumAt]))
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
		m.Version += 2 * int(int32(by))
		text, err := json.Marshal(&m)
		if err != nil {
			return err
		}
		return errors.Join(metas.Put([]byte("state"), text), metas.Put([]byte("state.crc32c"), binary.LittleEndian.AppendUint32(nil, crc32c.Sum(text))))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents maps the names of the files in a folder to their contents. It leaves out the lock, which changes when the folder is opened.
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
