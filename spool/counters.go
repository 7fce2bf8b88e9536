package spool

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/memfault"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// counters count excluded, refused and accepted responses: in memory and, if there is one, in the memory-mapped ledger page, so that the
// counts survive the process. Damage to the page does not change the counts in memory.
type counters struct {
	mu     sync.RWMutex // write-locked to change page; add takes the read lock and never waits for the disk
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

func (c *counters) excluded() uint64 { return c.value(slotExcluded) }

func (c *counters) dropped(r Refusal) uint64 { return c.value(slotOf(r)) }

// droppedLater returns the number of responses that were recorded first and dropped later.
func (c *counters) droppedLater() uint64 { return c.dropped(lostDamaged) + c.dropped(lostAge) }

func (c *counters) drop(r Refusal, n uint64) { c.add(slotOf(r), n) }

// slotOf returns the slot of a reason. Reasons that were added to the format later have slots after slotAccepted.
func slotOf(r Refusal) int {
	if r > lostDamaged {
		return 2 + int(r)
	}
	return 1 + int(r)
}

func (c *counters) droppedByReason() (map[string]uint64, uint64) { return byReason(c.dropped) }

// byReason returns the non-zero figures, nil if there are none, and their sum.
func byReason(figure func(Refusal) uint64) (out map[string]uint64, sum uint64) {
	for r := RefusedFull; r < refusals; r++ {
		if n := figure(r); n > 0 {
			if out == nil {
				out = make(map[string]uint64)
			}
			out[r.String()] = n
			sum += n
		}
	}
	return out, sum
}

// attach writes the counts to a page. From then on, the method add updates this page.
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

// attached reports whether there is a page.
func (c *counters) attached() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.page != nil
}

// detach unmaps the page. Its file keeps the counts.
func (c *counters) detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.page != nil {
		_ = journal.Unmap(c.page)
		c.page = nil
	}
}

// committed writes the figures of a commit to the page, in case the next start finds no readable queue.
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
	binary.LittleEndian.PutUint32(b[32:], crc32c.Sum(b[:32]))
	_ = memfault.Catch(func() { copy(c.page[pageCommitted:], b[:]) }) // the queue contains the same figures
}
