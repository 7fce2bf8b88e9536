package spool

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/memfault"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// The layout of the ledger page, little endian:
//
//	0     magic "WSLEDG" (8) | version (4) | zero (4) | epoch (16) | CRC32C of the 32 bytes before (4)
//	64    figures of the last commit: recorded (8) | acked seq (8) | acked responses (8) | last seq (8) | CRC32C of those (4)
//	128   counters: excluded (8) | one per refusal up to damaged (8 each) | accepted responses (8) | expired responses (8)
//	1152  the same counters
//	2176  the same counters
//
// A reader takes the median of a counter's three copies, so that one flipped bit changes nothing. Version 1 had one copy and no count of
// accepted responses.
const (
	pageBytes      = 4096
	pageMagic      = "WSLEDG\x00\x00"
	pageVersion    = 2
	pageCommitted  = 64
	pageCounters   = 128
	pageCopies     = 3
	pageCopyBytes  = 1024
	counterSlots   = 2 + int(refusals)
	slotExcluded   = 0
	slotAccepted   = 2 + int(lostDamaged)
	counterJumpMax = 1 << 40 // a larger difference between the queue's and the page's figures is a sign of damage
)

func createPage(o *Options, dir string, epoch uuid.UUID) ([]byte, error) {
	name := filepath.Join(dir, ledgerName)
	f, err := o.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	defer func() { _ = f.Close() }()
	page, err := journal.MapFile(f, pageBytes)
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	err = memfault.Catch(func() {
		copy(page, pageMagic)
		binary.LittleEndian.PutUint32(page[8:], pageVersion)
		copy(page[16:32], epoch[:])
		binary.LittleEndian.PutUint32(page[32:], crc32c.Sum(page[:32]))
	})
	if err != nil {
		_ = journal.Unmap(page)
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	return page, nil
}

// pageFigures is the content of the ledger page of a dead process.
type pageFigures struct {
	counters  [counterSlots]uint64
	committed *queue.State // nil if this part is damaged, or was being written when the process died
}

// stateOr returns s or, if s is nil, the page's figures of the last commit. It never returns nil.
func (p *pageFigures) stateOr(s *queue.State) *queue.State {
	return cmp.Or(s, p.committed, &queue.State{})
}

// refuseNewer returns an error that wraps queue.ErrNewer if a newer wayside wrote the ledger or a journal segment in dir. Such a folder must
// not be touched. The version of a queue file is checked when it is read.
func refuseNewer(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, ledgerName))
	if err == nil && validHead(b) {
		if version := binary.LittleEndian.Uint32(b[8:]); version > pageVersion {
			return fmt.Errorf("%w: %s has version %d, but this wayside supports only up to %d", queue.ErrNewer, filepath.Join(dir, ledgerName), version, pageVersion)
		}
	}
	if err := journal.CheckVersion(dir); err != nil {
		return fmt.Errorf("%w: %w", queue.ErrNewer, err)
	}
	return nil
}

func validHead(b []byte) bool {
	return len(b) >= 36 && string(b[:8]) == pageMagic && crc32c.Sum(b[:32]) == binary.LittleEndian.Uint32(b[32:])
}

// readPage reports false for a page that is missing or damaged, or belongs to another epoch.
func readPage(dir string, epoch uuid.UUID) (p pageFigures, ok bool) {
	b, err := os.ReadFile(filepath.Join(dir, ledgerName))
	if err != nil || len(b) < pageBytes || !validHead(b) || string(b[16:32]) != string(epoch[:]) {
		return p, false
	}
	version := binary.LittleEndian.Uint32(b[8:])
	for i := range p.counters {
		var copies [pageCopies]uint64
		for n := range copies {
			copies[n] = binary.LittleEndian.Uint64(b[pageCounters+n*pageCopyBytes+8*i:])
		}
		switch {
		case version > 1:
			slices.Sort(copies[:])
			p.counters[i] = copies[pageCopies/2]
		case i != slotAccepted:
			p.counters[i] = copies[0]
		}
	}
	c := b[pageCommitted:]
	if crc32c.Sum(c[:32]) == binary.LittleEndian.Uint32(c[32:]) {
		p.committed = &queue.State{
			Recorded: binary.LittleEndian.Uint64(c), Acked: binary.LittleEndian.Uint64(c[8:]),
			AckedResponses: binary.LittleEndian.Uint64(c[16:]), LastSeq: binary.LittleEndian.Uint64(c[24:]),
		}
	}
	return p, true
}
