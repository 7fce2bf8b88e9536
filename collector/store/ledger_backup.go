package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
	"github.com/wayside-proxy/wayside/internal/crc32c"
)

// The spool of a finished epoch is removed. After that, its figures are only in the ledger in the store, and a whole store can be lost.
// So the ledgers are also written to a file beside the store. The file is always rewritten as a whole, and synced before SetLedger
// returns (ADR 60).

// The first line of the file has the same form in every version: name, version, and the CRC32C of the version and everything after that
// line. So a flipped bit cannot make the file look like one that a newer version has written.
const (
	backupVersion = 1
	backupName    = "wayside ledgers"
)

// backupFile returns the path of the backup file.
func backupFile(o *Options) string { return o.Dir + ".ledgers" }

// backedUpLedger is a ledger in the file.
type backedUpLedger struct {
	storedLedger
	Seq uint64 `json:"seq,omitempty"` // the epoch's watermark
}

// backupContent is the content of the backup file.
type backupContent struct {
	Stored  uint64           `json:"stored"`  // number of ledger changes so far
	Ledgers []backedUpLedger `json:"ledgers"` // in the order in which they were stored; the sum, if there is one, comes first
}

// ledgerBackup is the state of the backup file when it was last read or written.
type ledgerBackup struct {
	backupContent
	body   []byte // nil if there is no file
	damage error  // why the file is unusable and must be set aside; nil if it is usable
}

func (c *backupContent) encode() ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode ledgers: %w", err)
	}
	return append([]byte(backupHead(strconv.Itoa(backupVersion), text)), text...), nil
}

func backupHead(version string, text []byte) string {
	sum := crc32c.Update(crc32c.Sum([]byte(version)), text)
	return fmt.Sprintf("%s %s %08x\n", backupName, version, sum)
}

// decodeBackup reads the file's content. The error wraps ErrSchema or ErrDamaged; no part of a damaged file is used.
func decodeBackup(body []byte) (c backupContent, err error) {
	head, text, _ := bytes.Cut(body, []byte("\n"))
	version, _, _ := strings.Cut(strings.TrimPrefix(string(head), backupName+" "), " ")
	if string(head)+"\n" != backupHead(version, text) {
		return c, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	if n, err := strconv.ParseUint(version, 10, 31); err != nil || n == 0 {
		return c, fmt.Errorf("%w: version %q", ErrDamaged, version)
	} else if n > backupVersion {
		return c, fmt.Errorf("%w: version %d, but this version supports only up to %d", ErrSchema, n, backupVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return backupContent{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return c, nil
}

// readBackup reads the backup file. The error wraps ErrSchema or ErrUnavailable.
func readBackup(o *Options) (*ledgerBackup, error) {
	name := backupFile(o)
	body, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &ledgerBackup{}, nil
	case errors.Is(err, syscall.EISDIR):
		return &ledgerBackup{body: []byte{}, damage: fmt.Errorf("%w: it is a folder", ErrDamaged)}, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	c, err := decodeBackup(body)
	if errors.Is(err, ErrSchema) {
		return nil, fmt.Errorf("%w: %s", err, name)
	}
	return &ledgerBackup{backupContent: c, body: body, damage: err}, nil
}

// exists reports whether the backup file existed when it was read.
func (b *ledgerBackup) exists() bool { return b.body != nil }

// write replaces the file unless the file already has this content. If the file is damaged, write first sets it aside.
func (b *ledgerBackup) write(o *Options, c backupContent) error {
	if !b.exists() && len(c.Ledgers) == 0 {
		return nil
	}
	body, err := c.encode()
	if err != nil {
		return err
	}
	if b.damage != nil {
		if err := setBackupAside(o, b.damage); err != nil {
			return err
		}
	} else if bytes.Equal(b.body, body) {
		return nil
	}
	if err := writeFileSynced(backupFile(o), body); err != nil {
		return fmt.Errorf("%w: write the ledgers beside the store: %w", ErrUnavailable, err)
	}
	*b = ledgerBackup{backupContent: c, body: body}
	return nil
}

// setBackupAside moves a damaged backup file to the quarantine folder.
func setBackupAside(o *Options, damage error) error {
	name := backupFile(o)
	if !badgerfiles.Exists(name) {
		return nil
	}
	to, err := moveToQuarantine(o, name, "store.ledgers", func(string) string {
		return fmt.Sprintf("%v\n\nIt held the final figures of epochs whose spool is gone, in case the store is lost. They are also\n"+
			"in the store. wayside ignored it, and wrote a new file from the ledgers in the store.\n", damage)
	})
	if err != nil {
		return err
	}
	o.Logger.Warn("store: "+filepath.Base(name)+" is damaged; it was set aside, and a new one is written from the ledgers in the store",
		"moved_to", to, "reason", damage)
	return nil
}
