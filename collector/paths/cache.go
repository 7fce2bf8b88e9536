package paths

import (
	"bytes"
	"hash/maphash"
)

// Size of the cache: its slots, and the longest host + method + path in it. 1,024 slots of about 144 bytes.
const (
	cacheSlots    = 1024
	cacheKeyBytes = 112
)

// cache has the rows of recent paths. It is direct-mapped: a new path replaces the one in its slot, so millions of different paths
// cost neither memory nor garbage. A slot has the whole key, so a collision costs a miss and nothing else.
type cache struct {
	seed  maphash.Seed
	slots []slot // allocated at first use
}

type slot struct {
	row                        *row // nil: empty
	sum                        uint64
	hostLen, methodLen, keyLen uint8
	key                        [cacheKeyBytes]byte
}

func (c *cache) hash(host, method, path []byte) uint64 {
	if len(host)+len(method)+len(path) > cacheKeyBytes {
		return 0
	}
	// Different odd factors distinguish ("a", "bc") and ("ab", "c") well enough, because get compares the whole key.
	const odd1, odd2 = 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9
	return maphash.Bytes(c.seed, path) ^ maphash.Bytes(c.seed, host)*odd1 ^ uint64(len(method))*odd2
}

func (c *cache) get(sum uint64, host, method, path []byte) *row {
	if c.slots == nil {
		return nil
	}
	s := &c.slots[sum%cacheSlots]
	h, m := int(s.hostLen), int(s.methodLen)
	if s.row == nil || s.sum != sum || len(host) != h || len(method) != m || int(s.keyLen) != h+m+len(path) {
		return nil
	}
	if !bytes.Equal(s.key[h+m:s.keyLen], path) || !bytes.Equal(s.key[:h], host) || !bytes.Equal(s.key[h:h+m], method) {
		return nil
	}
	return s.row
}

func (c *cache) put(sum uint64, host, method, path []byte, r *row) {
	size := len(host) + len(method) + len(path)
	if size > cacheKeyBytes {
		return
	}
	if c.slots == nil {
		c.slots = make([]slot, cacheSlots)
	}
	s := &c.slots[sum%cacheSlots]
	s.row, s.sum = r, sum
	s.hostLen, s.methodLen, s.keyLen = uint8(len(host)), uint8(len(method)), uint8(size) // at most cacheKeyBytes
	n := copy(s.key[:], host)
	n += copy(s.key[n:], method)
	copy(s.key[n:], path)
}

func (c *cache) clear() { clear(c.slots) }
