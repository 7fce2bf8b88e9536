package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/memfault"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Ledger is the account of one epoch, cumulative since the epoch began.
//
// Responses = Recorded + Excluded + the sum of Dropped. A response that is being appended while the ledger is read counts
// in none of them. Drop records are in Recorded and Responses nowhere.
type Ledger struct {
	Epoch     uuid.UUID         `json:"epoch"`
	Responses uint64            `json:"responses"`
	Recorded  uint64            `json:"recorded"`
	Excluded  uint64            `json:"excluded"`
	Spooled   uint64            `json:"spooled"` // responses held here, journal included, beyond what was applied
	Dropped   map[string]uint64 `json:"dropped,omitempty"`
	Closed    bool              `json:"closed"`   // nothing will be appended any more
	LastSeq   uint64            `json:"last_seq"` // highest seq given out
}

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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// counters count exclusions, refusals and what was accepted: in memory, and in the mapped page once there is one, so that the
// counts outlive the process. Nothing that happens to the page changes what memory says.
type counters struct {
	mu     sync.RWMutex // write-locked to change page; adding takes the read lock, and never waits for the disk
	page   []byte
	memory [counterSlots]atomic.Uint64
}

func (c *counters) add(slot int, n uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	c.memory[slot].Add(n)
	if c.page != nil {
		_ = memfault.Catch(func() {
			for i := range pageCopies {
				atomic.AddUint64(c.word(i, slot), n)
			}
		})
	}
}

func (c *counters) word(number, slot int) *uint64 {
	return (*uint64)(unsafe.Pointer(&c.page[pageCounters+number*pageCopyBytes+8*slot]))
}

func (c *counters) value(slot int) uint64 { return c.memory[slot].Load() }

func (c *counters) excluded() uint64         { return c.value(slotExcluded) }
func (c *counters) dropped(r Refusal) uint64 { return c.value(slotOf(r)) }
func (c *counters) drop(r Refusal, n uint64) { c.add(slotOf(r), n) }

// slotOf is where a reason is counted: what came after the page had its form stands behind slotAccepted.
func slotOf(r Refusal) int {
	if r > lostDamaged {
		return 2 + int(r)
	}
	return 1 + int(r)
}

func (c *counters) droppedByReason() (map[string]uint64, uint64) {
	var out map[string]uint64
	var sum uint64
	for r := RefusedFull; r < refusals; r++ {
		if n := c.dropped(r); n > 0 {
			if out == nil {
				out = make(map[string]uint64)
			}
			out[r.String()] = n
			sum += n
		}
	}
	return out, sum
}

// attach writes the counts made so far into a page, which counters own from now on.
func (c *counters) attach(page []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.page = page
	_ = memfault.Catch(func() {
		for slot := range c.memory {
			for i := range pageCopies {
				atomic.StoreUint64(c.word(i, slot), c.memory[slot].Load())
			}
		}
	})
}

// detach unmaps the page, whose file keeps the counts.
func (c *counters) detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.page != nil {
		_ = journal.Unmap(c.page)
		c.page = nil
	}
}

// committed notes the committer's figures in the page, for a start that finds no readable queue.
func (c *counters) committed(m *queue.State) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.page == nil {
		return
	}
	var b [36]byte
	binary.LittleEndian.PutUint64(b[:], m.Recorded)
	binary.LittleEndian.PutUint64(b[8:], m.Acked)
	binary.LittleEndian.PutUint64(b[16:], m.AckedResponses)
	binary.LittleEndian.PutUint64(b[24:], m.LastSeq)
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
	_ = memfault.Catch(func() { copy(c.page[pageCommitted:], b[:]) }) // the queue holds the same figures
}

func createPage(o *Options, dir string, epoch uuid.UUID) ([]byte, error) {
	name := filepath.Join(dir, "ledger")
	f, err := o.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
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
		binary.LittleEndian.PutUint32(page[32:], crc32.Checksum(page[:32], castagnoli))
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
	b, err := os.ReadFile(filepath.Join(dir, "ledger"))
	if err == nil && len(b) >= 36 && string(b[:8]) == pageMagic && crc32.Checksum(b[:32], castagnoli) == binary.LittleEndian.Uint32(b[32:]) {
		if version := binary.LittleEndian.Uint32(b[8:]); version > pageVersion {
			return fmt.Errorf("%w: %s is of version %d, this wayside knows %d", queue.ErrNewer, filepath.Join(dir, "ledger"), version, pageVersion)
		}
	}
	if err := journal.Version(dir); err != nil {
		return fmt.Errorf("%w: %w", queue.ErrNewer, err)
	}
	return nil
}

// readPage reports false for a page that is missing or not of this epoch.
func readPage(dir string, epoch uuid.UUID) (p pageFigures, ok bool) {
	b, err := os.ReadFile(filepath.Join(dir, "ledger"))
	if err != nil || len(b) < pageBytes || string(b[:8]) != pageMagic || string(b[16:32]) != string(epoch[:]) ||
		crc32.Checksum(b[:32], castagnoli) != binary.LittleEndian.Uint32(b[32:]) {
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
	if crc32.Checksum(c[:32], castagnoli) == binary.LittleEndian.Uint32(c[32:]) {
		p.committed = &queue.State{
			Recorded: binary.LittleEndian.Uint64(c), Acked: binary.LittleEndian.Uint64(c[8:]),
			AckedResponses: binary.LittleEndian.Uint64(c[16:]), LastSeq: binary.LittleEndian.Uint64(c[24:]),
		}
	}
	return p, true
}
