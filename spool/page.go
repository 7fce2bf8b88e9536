package spool

import (
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

// The ledger page, little endian: 0 magic "WSLEDG" (8) | 8 version (4) | 12 zero (4) | 16 epoch (16) | 32 CRC32C of the 32
// bytes before (4). From 64: what the committer knows, recorded (8) | acked seq (8) | acked responses (8) | last seq (8) |
// CRC32C of those (4). From 128: excluded (8), then a counter (8) per refusal up to damaged, then the responses accepted (8), then
// what was given up for its age (8); the same again from 1152 and from 2176. Of three copies the one in the middle counts: a flipped bit is outvoted. Version 1 had one
// copy, and did not count what was accepted.
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
	counterJumpMax = 1 << 40 // more than this between the queue's figure and the page's is damage, not counting
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

// pageFigures is what a ledger page of a dead process says.
type pageFigures struct {
	counters  [counterSlots]uint64
	committed *queue.State // nil when that part is damaged or was being written
}

// refuseNewer returns an error that wraps queue.ErrNewer if a newer wayside wrote the ledger or a segment of the journal in dir. Nothing
// of the folder may be touched then. The queue says its version when it is read.
func refuseNewer(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, ledgerName))
	if err == nil && len(b) >= 36 && string(b[:8]) == pageMagic && crc32c.Sum(b[:32]) == binary.LittleEndian.Uint32(b[32:]) {
		if version := binary.LittleEndian.Uint32(b[8:]); version > pageVersion {
			return fmt.Errorf("%w: %s is of version %d, this wayside knows %d", queue.ErrNewer, filepath.Join(dir, ledgerName), version, pageVersion)
		}
	}
	if err := journal.Version(dir); err != nil {
		return fmt.Errorf("%w: %w", queue.ErrNewer, err)
	}
	return nil
}

// readPage reports false for a page that is missing or not of this epoch.
func readPage(dir string, epoch uuid.UUID) (p pageFigures, ok bool) {
	b, err := os.ReadFile(filepath.Join(dir, ledgerName))
	if err != nil || len(b) < pageBytes || string(b[:8]) != pageMagic || string(b[16:32]) != string(epoch[:]) ||
		crc32c.Sum(b[:32]) != binary.LittleEndian.Uint32(b[32:]) {
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
