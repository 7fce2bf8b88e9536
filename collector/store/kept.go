package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/uuid"
)

// The spool of a finished epoch is removed: of what it counted there is nothing but the ledger in the store, and a store may be
// lost as a whole. So the ledgers stand in a file beside it as well, written whole and synced before SetLedger returns. ADR 60.

// keptVersion is the version of the file. Its first line stays as it is whatever the version: name, version, and the CRC32C of
// the version and of all that follows the line. So no flipped bit makes a file look newer than it is.
const (
	keptVersion = 1
	keptName    = "wayside ledgers"
)

// ledgersFile is where the ledgers are kept beside the store.
func ledgersFile(o *Options) string { return o.Dir + ".ledgers" }

// keptLedger is a ledger in the file.
type keptLedger struct {
	storedLedger
	Seq uint64 `json:"seq,omitempty"` // the epoch's watermark
}

// keptLedgers is what the file holds.
type keptLedgers struct {
	Stored  uint64       `json:"stored"`  // numbers that were given to ledgers
	Ledgers []keptLedger `json:"ledgers"` // in the order of storing; the sum, if there is one, is the first
}

// keptFile is the file as it was read or written last.
type keptFile struct {
	keptLedgers
	body   []byte
	damage error // it says nothing, and is to be set aside
}

// encode makes the file's content.
func (k *keptLedgers) encode() ([]byte, error) {
	text, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode ledgers: %w", err)
	}
	return append([]byte(keptHead(strconv.Itoa(keptVersion), text)), text...), nil
}

func keptHead(version string, text []byte) string {
	sum := crc32.Update(crc32.Checksum([]byte(version), castagnoli), castagnoli, text)
	return fmt.Sprintf("%s %s %08x\n", keptName, version, sum)
}

// decodeKept reads the file's content. The error wraps ErrSchema or ErrDamaged; nothing of a damaged file is believed.
func decodeKept(body []byte) (k keptLedgers, err error) {
	head, text, _ := bytes.Cut(body, []byte("\n"))
	version, _, _ := strings.Cut(strings.TrimPrefix(string(head), keptName+" "), " ")
	if string(head)+"\n" != keptHead(version, text) {
		return k, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	if n, err := strconv.ParseUint(version, 10, 31); err != nil || n == 0 {
		return k, fmt.Errorf("%w: version %q", ErrDamaged, version)
	} else if n > keptVersion {
		return k, fmt.Errorf("%w: version %d, known up to %d", ErrSchema, n, keptVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&k); err != nil {
		return keptLedgers{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return k, nil
}

// readKept reads the file beside the store, nil if there is none. The error wraps ErrSchema or ErrUnavailable.
func readKept(o *Options) (*keptFile, error) {
	name := ledgersFile(o)
	body, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, syscall.EISDIR):
		return &keptFile{damage: fmt.Errorf("%w: it is a folder", ErrDamaged)}, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	k, err := decodeKept(body)
	if errors.Is(err, ErrSchema) {
		return nil, fmt.Errorf("%w: %s", err, name)
	}
	return &keptFile{keptLedgers: k, body: body, damage: err}, nil
}

// keepLedgers writes the file anew unless it holds all of that already; one that was damaged is set aside first.
func (s *Store) keepLedgers() error {
	if s.o.RefuseDamaged {
		return nil
	}
	k := s.collectLedgers()
	old := s.o.kept
	if old == nil && len(k.Ledgers) == 0 {
		return nil
	}
	body, err := k.encode()
	if err != nil {
		return err
	}
	if old != nil && old.damage != nil {
		if err := setLedgersAside(&s.o, old.damage); err != nil {
			return err
		}
	} else if old != nil && bytes.Equal(old.body, body) {
		return nil
	}
	if err := writeFileSynced(ledgersFile(&s.o), body); err != nil {
		return fmt.Errorf("%w: keep ledgers beside the store: %w", ErrUnavailable, err)
	}
	s.o.kept = &keptFile{keptLedgers: k, body: body}
	return nil
}

// collectLedgers is what the file is to hold.
func (s *Store) collectLedgers() keptLedgers {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := keptLedgers{Stored: s.state.ledgers, Ledgers: make([]keptLedger, 0, len(s.ledgers))}
	for epoch, l := range s.ledgers {
		k.Ledgers = append(k.Ledgers, keptLedger{storedLedger: l, Seq: s.watermarks[epoch].seq})
	}
	slices.SortFunc(k.Ledgers, func(a, b keptLedger) int {
		if a.Epoch == uuid.Nil || b.Epoch == uuid.Nil {
			return bytes.Compare(a.Epoch[:], b.Epoch[:])
		}
		return cmp.Compare(a.Order, b.Order)
	})
	return k
}

// setLedgersAside moves a damaged file to quarantine and writes a report beside it.
func setLedgersAside(o *Options, damage error) error {
	if !exists(ledgersFile(o)) {
		return nil
	}
	if err := os.MkdirAll(o.QuarantineDir, 0o750); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	now := o.Now().UTC()
	to := freeName(filepath.Join(o.QuarantineDir, now.Format("2006-01-02")+"-store.ledgers"))
	if err := os.Rename(ledgersFile(o), to); err != nil {
		return fmt.Errorf("%w: set the damaged ledgers aside: %w", ErrUnavailable, err)
	}
	report := fmt.Sprintf("Set aside at %s because:\n%v\n\n"+
		"It held the final figures of epochs whose spool is gone, beside those in the store, for when the store is lost. It was\n"+
		"written anew from the ledgers that the store has. Nothing of it was believed.\n", now.Format("2006-01-02T15:04:05Z"), damage)
	if err := writeFileSynced(to+".txt", []byte(report)); err != nil {
		o.Logger.Warn("store: the report on the damaged ledgers could not be written", "error", err)
	}
	o.Logger.Warn("store: the ledgers kept beside the store are damaged; the file was set aside and is written anew", "moved_to", to, "reason", damage)
	return nil
}

// freeName is a name that no file has: base, or base with a number.
func freeName(base string) string {
	to := base
	for n := 2; exists(to) || exists(to+".txt"); n++ {
		to = fmt.Sprintf("%s-%d", base, n)
	}
	return to
}
