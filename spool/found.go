package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// openingDeathsMax is how many starts in a row may die while opening a queue file before it is set aside. One death
// may be a kill that happened to come then; a file that kills bbolt does so each time.
const openingDeathsMax = 2

// loadQueues opens the queue files of a folder, oldest first, and merges their indexes; the newer file's copy of a batch
// counts. It returns the newest state, nil if no file could be read.
func (s *Set) loadQueues(e *epoch) (newest *meta, err error) {
	aside, _ := filepath.Glob(filepath.Join(e.dir, "queue*.new"))
	for _, name := range aside {
		_ = os.Remove(name) // its creation was cut short before anything was in it
	}
	var merged []entry
	for _, number := range queueNumbers(e.dir) {
		q, m, index, err := s.openFound(e, number)
		if err != nil {
			return nil, err
		}
		if q == nil {
			continue
		}
		if n := len(e.files); n > 0 {
			e.files[n-1].readOnly = true
		}
		e.files = append(e.files, q)
		merged = append(merged, index...)
		if m == nil {
			s.o.Logger.Error("the state of a queue file is damaged; the ledger's figures are used", "file", q.name)
			continue
		}
		if newest == nil {
			newest = m
			continue
		}
		newest = newerMeta(newest, m)
	}
	// Newer files come later in merged: a stable sort keeps them behind older copies of the same batch.
	sort.SliceStable(merged, func(i, j int) bool { return merged[i].first < merged[j].first })
	for _, b := range merged {
		if n := len(e.index); n > 0 && e.index[n-1].first == b.first {
			e.index[n-1] = b
			continue
		}
		e.index = append(e.index, b)
	}
	return newest, nil
}

func newerMeta(a, b *meta) *meta {
	out := *b
	out.Generation, out.LastSeq = max(a.Generation, b.Generation), max(a.LastSeq, b.LastSeq)
	// Recorded becomes less when something is dropped that was recorded: only both together are cumulative.
	gone := b.droppedLater()
	recorded := max(a.Recorded+a.droppedLater(), b.Recorded+gone)
	out.Recorded, out.Excluded = recorded-min(recorded, gone), max(a.Excluded, b.Excluded)
	out.Version, out.GivenUp = max(a.Version, b.Version), max(a.GivenUp, b.GivenUp)
	if a.Acked > b.Acked {
		out.Acked, out.AckedResponses = a.Acked, a.AckedResponses
	}
	return &out
}

// droppedLater counts the responses that were recorded first and dropped afterwards.
func (m *meta) droppedLater() uint64 {
	return m.Dropped[lostDamaged.String()] + m.Dropped[lostAge.String()]
}

func queueNumbers(dir string) []int {
	names, _ := filepath.Glob(filepath.Join(dir, "queue*.db"))
	var out []int
	for _, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), ".db")
		number, err := strconv.Atoi(strings.TrimPrefix(base, "queue-"))
		if base == "queue" {
			number, err = 0, nil
		}
		if err == nil && queueName(dir, number) == name {
			out = append(out, number)
		}
	}
	sort.Ints(out)
	return out
}

// openFound opens a queue file of a dead process. A damaged file is set aside: then all results are nil. An error means
// that it may be readable later.
func (s *Set) openFound(e *epoch, number int) (*queueFile, *meta, []entry, error) {
	name := queueName(e.dir, number)
	marker := name + ".opening"
	deaths := 0
	if text, err := os.ReadFile(marker); err == nil {
		deaths, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if deaths >= openingDeathsMax {
		s.quarantine(e, name, fmt.Errorf("opening it ended %d processes", deaths))
		_ = os.Remove(marker)
		return nil, nil, nil, nil
	}
	marked := os.WriteFile(marker, []byte(strconv.Itoa(deaths+1)), 0o600) == nil // not on a full or read-only disk
	defer func() {
		if marked {
			_ = os.Remove(marker)
		}
	}()
	q, m, index, err := s.tryQueue(e, number)
	if err == nil {
		return q, m, index, nil
	}
	if q != nil {
		_ = q.close()
	}
	if !isDamage(err) {
		return nil, nil, nil, err
	}
	s.quarantine(e, name, err)
	return nil, nil, nil, nil
}

// tryQueue reads a file read-only first: bbolt opens a file for writing with a goroutine of its own, whose panic over a
// damaged page nobody could recover. The first pass meets the same pages in this goroutine.
func (s *Set) tryQueue(e *epoch, number int) (*queueFile, *meta, []entry, error) {
	name := queueName(e.dir, number)
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open queue: %w", err)
	}
	if info.Size() == 0 {
		return nil, nil, nil, fmt.Errorf("%w: empty", errDamaged) // bbolt would begin a new one in it
	}
	q := &queueFile{name: name, number: number, readOnly: true}
	err = guardErr(func() (err error) {
		o := boltOptions(&s.o, 0)
		o.ReadOnly = true
		q.db, err = bolt.Open(name, 0o600, o)
		return err
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open queue %s: %w", name, err)
	}
	m, index, err := q.load(e.id, s.o.Now())
	if err != nil {
		return q, nil, nil, err
	}
	if err := q.close(); err != nil {
		return nil, nil, nil, err
	}
	// A closed epoch gets no new events beyond its journal, which must find room.
	room := max(s.o.QueueBytesMax, info.Size()) + 2*int64(s.o.Segments)*int64(s.o.SegmentBytes)
	writable, err := openQueue(&s.o, e.dir, number, room)
	if err != nil && (isReadOnly(err) || errors.Is(err, fs.ErrPermission)) {
		if err = guardErr(func() (err error) {
			o := boltOptions(&s.o, 0)
			o.ReadOnly = true
			q.db, err = bolt.Open(name, 0o400, o)
			return err
		}); err != nil {
			return nil, nil, nil, err
		}
		return q, m, index, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	for i := range index {
		index[i].file = writable
	}
	return writable, m, index, nil
}

func isDamage(err error) bool {
	return errors.Is(err, errPanicked) || errors.Is(err, errDamaged) || errors.Is(err, berrors.ErrInvalid) ||
		errors.Is(err, berrors.ErrVersionMismatch) || errors.Is(err, berrors.ErrChecksum) ||
		(err != nil && strings.Contains(err.Error(), "file size too small")) // bbolt has no value for this one
}

// quarantine sets a file aside: in QuarantineDir or, failing that, under another name in its place.
func (s *Set) quarantine(e *epoch, name string, cause error) {
	target := s.quarantineName(e, filepath.Base(name))
	err := os.MkdirAll(s.o.QuarantineDir, 0o750)
	if err == nil {
		err = os.Rename(name, target)
	}
	if err != nil {
		target = name + ".damaged"
		err = os.Rename(name, target)
	}
	s.quarantined.Add(1)
	s.o.Logger.Error("damaged queue file set aside", "file", name, "to", target, "cause", cause, "error", err)
	s.report(target, fmt.Sprintf("%s was the queue of epoch %s. Its events were read from the journal as far as that still has them.", name, e.id), cause)
}

// report writes beside what was set aside what it held, and why it is there. A disk that cannot take it has the log.
func (s *Set) report(target, held string, cause error) {
	text := fmt.Sprintf("set aside at %s\n%s\nbecause:\n%v\n", s.o.Now().UTC().Format(time.RFC3339), held, cause)
	err := os.MkdirAll(filepath.Dir(target), 0o750)
	if err == nil {
		err = os.WriteFile(target+".txt", []byte(text), 0o600)
	}
	if err != nil {
		s.o.Logger.Warn("no report could be written beside what was set aside", "file", target, "error", err)
	}
}

func (s *Set) quarantineName(e *epoch, base string) string {
	stamp := s.o.Now().UTC().Format("20060102T150405.000000")
	return filepath.Join(s.o.QuarantineDir, fmt.Sprintf("%s-spool-%s-%s", stamp, e.id, base))
}
