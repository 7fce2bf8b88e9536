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

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
)

const (
	retiredPrefix = ".retired-"
	// openingDeathsMax is how many starts in a row may die while opening a queue file before it is set aside. One death
	// may be a kill that happened to come then; a file that kills bbolt does so each time.
	openingDeathsMax = 2
)

func (s *Set) removeRetired() {
	names, _ := filepath.Glob(filepath.Join(s.o.Dir, retiredPrefix+"*"))
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			s.o.Logger.Warn("retired spool folder stays", "folder", name, "error", err)
		}
	}
}

// recoverAll adopts the folders of dead processes. What cannot be taken now is kept in s.skipped. The caller holds sem.
func (s *Set) recoverAll(dirs []string) {
	for _, dir := range dirs {
		if dir == s.current.dir {
			continue
		}
		e, err := s.recoverEpoch(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue // retired by its owner meanwhile
		case errors.Is(err, errBusy):
			s.skipped = append(s.skipped, dir)
			continue
		case err != nil:
			s.skipped = append(s.skipped, dir)
			s.o.Logger.Warn("spool folder left alone for now", "folder", dir, "error", err)
			continue
		}
		if e.blank() && s.discard(e) == nil {
			continue // its process ended before the first response
		}
		s.mu.Lock()
		s.epochs = append(s.epochs, e)
		sort.SliceStable(s.epochs, func(i, j int) bool {
			a, b := s.epochs[i], s.epochs[j]
			if (a == s.current) != (b == s.current) {
				return b == s.current
			}
			return a.id.String() < b.id.String()
		})
		s.changedLocked()
		s.mu.Unlock()
	}
}

// recoverEpoch takes over a folder: it locks it, reads what its queue files hold, commits what its journal holds beyond
// them, and works out the ledger.
func (s *Set) recoverEpoch(dir string) (e *epoch, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("recover spool: %w", err)
	}
	e = &epoch{id: uuid.MustParse(filepath.Base(dir)), dir: dir, closed: true}
	if e.lock, err = lockFolder(dir, false); err != nil && !errors.Is(err, fs.ErrPermission) && !isReadOnly(err) {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = e.closeFiles()
		}
	}()
	known, err := s.loadQueues(e)
	if err != nil {
		return nil, err
	}
	page, pageOK := readPage(dir, e.id)
	if known == nil {
		known = &meta{}
		if pageOK && page.committed != nil {
			known = page.committed
		}
	}
	e.acked, e.ackedResponses = known.Acked, known.AckedResponses
	e.generation, e.lastSeq = known.Generation, max(known.LastSeq, known.Acked)
	e.dropAckedLocked()
	expected := known.Recorded - min(known.Recorded, known.AckedResponses)
	fromJournal := s.recoverJournal(e, known.LastSeq)
	s.settleLedger(e, known, page, expected, fromJournal)
	for i := range e.index {
		e.lastSeq = max(e.lastSeq, e.index[i].last)
	}
	if e.writer() != nil && fromJournal > 0 {
		_ = s.commitAcksOf(e) // the ledger with what the journal added; found again the same way if it fails
	}
	if n := len(e.index); n > 0 || e.recorded > 0 {
		s.o.Logger.Info("recovered spool", "epoch", e.id, "batches", n, "recorded", e.recorded, "from_journal", fromJournal)
	}
	return e, nil
}

// dropAckedLocked forgets what was acknowledged but still stands in a file.
func (e *epoch) dropAckedLocked() {
	kept := e.index[:0]
	for _, b := range e.index {
		if b.last > e.acked {
			kept = append(kept, b)
		} else if b.file != nil {
			e.deletes = append(e.deletes, b)
		}
	}
	e.index = kept
}

// settleLedger makes the figures agree with what is really here: recorded is what was acknowledged and what is held;
// what the queue claimed beyond that is lost, and counted so.
func (s *Set) settleLedger(e *epoch, known *meta, page pageFigures, expected, fromJournal uint64) {
	held := uint64(0)
	for i := range e.index {
		held += uint64(e.index[i].responses)
	}
	e.recorded = e.ackedResponses + held
	e.counters.add(slotExcluded, newer(known.Excluded, page.counters[slotExcluded]))
	for r := RefusedFull; r < refusals; r++ {
		e.counters.drop(r, newer(known.Dropped[r.String()], page.counters[1+int(r)]))
	}
	if committed := held - min(held, fromJournal); committed < expected {
		e.counters.drop(lostDamaged, expected-committed)
		s.o.Logger.Error("spool lost events to damage", "epoch", e.id, "responses", expected-committed)
	}
}

// newer chooses between the figure of the last commit and the mapped one, which is ahead of it unless it is damaged or a
// power cut took it back.
func newer(committed, mapped uint64) uint64 {
	if mapped > committed && mapped-committed < counterJumpMax {
		return mapped
	}
	return committed
}

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
	out.Recorded, out.Excluded = max(a.Recorded, b.Recorded), max(a.Excluded, b.Excluded)
	if a.Acked > b.Acked {
		out.Acked, out.AckedResponses = a.Acked, a.AckedResponses
	}
	return &out
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
		errors.Is(err, berrors.ErrVersionMismatch) || errors.Is(err, berrors.ErrChecksum)
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
}

func (s *Set) quarantineName(e *epoch, base string) string {
	stamp := s.o.Now().UTC().Format("20060102T150405.000000")
	return filepath.Join(s.o.QuarantineDir, fmt.Sprintf("%s-spool-%s-%s", stamp, e.id, base))
}

// recoverJournal commits what the journal's segments hold and the queue does not, and returns the responses among that
// which the queue never counted: those beyond its last seq.
// The segments are removed once everything is in the queue; else they stay, and their batches are served from memory.
func (s *Set) recoverJournal(e *epoch, counted uint64) (responses uint64) {
	segments, err := journal.List(e.dir, e.id)
	if err != nil {
		s.o.Logger.Error("journal segments cannot be recovered", "epoch", e.id, "error", err)
	}
	durable := err == nil
	for _, left := range segments {
		b, value, scanErr := buildLeft(left, e, s.o.Now())
		if scanErr != nil {
			s.o.Logger.Error("journal segment is damaged", "error", scanErr)
		}
		if b.records == 0 || b.last <= e.acked {
			continue
		}
		if at := e.findLocked(b.first); at != nil && at.last >= b.last && s.readable(at) {
			continue // the usual case for the segment of the last commit
		}
		if !s.recoverBatch(e, left.Generation, &b, value) {
			durable = false
		}
		if b.first > counted {
			responses += uint64(b.responses)
		}
	}
	if !durable {
		return responses
	}
	names, _ := filepath.Glob(filepath.Join(e.dir, "journal-*.seg"))
	for _, name := range names {
		_ = os.Remove(name)
	}
	return responses
}

func buildLeft(left journal.Left, e *epoch, now time.Time) (b entry, value []byte, err error) {
	builder := event.NewBatchBuilder(e.id)
	err = left.Scan(func(seq uint64, payload []byte) {
		response := event.IsResponseRecord(payload)
		if builder.Add(seq, payload, response) != nil {
			return
		}
		if b.records == 0 {
			b.first = seq
		}
		b.last, b.records = seq, b.records+1
		if response {
			b.responses++
		}
	})
	b.size, b.at = builder.Size(), now
	return b, builder.Bytes(), err
}

// readable reports whether a batch of the index is whole; if not, it takes it out, for the journal's copy.
func (s *Set) readable(at *entry) bool {
	if at.file == nil {
		return true
	}
	value, err := at.file.read(at.key())
	if err == nil && value != nil {
		_, err = event.ParseBatch(value)
	}
	return err == nil && value != nil
}

// recoverBatch commits a batch from the journal, or keeps it in memory, and reports which.
func (s *Set) recoverBatch(e *epoch, generation uint64, b *entry, value []byte) bool {
	if old := e.findLocked(b.first); old != nil {
		e.removeLocked(b.first)
	}
	q := e.writer()
	if q == nil {
		var err error
		if q, err = s.addQueue(e); err != nil {
			s.o.Logger.Warn("recovered events are held in memory", "epoch", e.id, "error", err)
		}
	}
	ok := false
	if q != nil {
		err := q.commit([]put{{b.key(), value}}, nil, e.metaLocked(generation, b))
		if ok = err == nil; !ok {
			s.o.Logger.Warn("recovered events are held in memory", "epoch", e.id, "error", err)
		}
	}
	if ok {
		b.file = q
		e.generation = max(e.generation, generation)
	} else {
		b.cached = value
	}
	e.recorded += uint64(b.responses)
	e.lastSeq = max(e.lastSeq, b.last)
	i := sort.Search(len(e.index), func(i int) bool { return e.index[i].first >= b.first })
	e.index = append(e.index[:i:i], append([]entry{*b}, e.index[i:]...)...)
	return ok
}

// addQueue begins a queue file in a folder that has none that can be written.
func (s *Set) addQueue(e *epoch) (*queueFile, error) {
	number := 0
	if numbers := queueNumbers(e.dir); len(numbers) > 0 {
		number = numbers[len(numbers)-1] + 1
	}
	q, err := createQueue(&s.o, e.dir, number, e.metaLocked(0, nil))
	if err != nil {
		return nil, err
	}
	e.files = append(e.files, q)
	return q, nil
}
