package paths

import (
	"bytes"
	"hash/maphash"
)

// Size of the cache: the number of its slots, and the maximum length of host, method, route and path together. The
// cache has 1,024 slots of about 144 bytes.
const (
	cacheSlots    = 1024
	cacheKeyBytes = 112
)

// cache holds the rows of recent paths. It is direct-mapped: a new path replaces the one in its slot, so millions of different paths cost
// neither memory nor garbage collection. A slot contains its whole key, so a collision causes only a cache miss.
type cache struct {
	seed  maphash.Seed
	slots []slot // allocated at first use
}

type slot struct {
	row                                  *row // nil if the slot is empty
	sum                                  uint64
	hostLen, methodLen, routeLen, keyLen uint8
	grpc                                 bool
	key                                  [cacheKeyBytes]byte // host, method, route, path
}

// cacheKey is everything that determines the row of a response, except the response's status.
type cacheKey struct {
	host, method, route, path []byte
	grpc                      bool
}

func (k *cacheKey) size() int { return len(k.host) + len(k.method) + len(k.route) + len(k.path) }

func (c *cache) hash(k *cacheKey) uint64 {
	if k.size() > cacheKeyBytes {
		return 0
	}
	// With different odd factors, ("a", "bc") and ("ab", "c") usually have different hashes. That is enough, because get compares the
	// whole key.
	const odd1, odd2, odd3 = 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb
	sum := maphash.Bytes(c.seed, k.path) ^ maphash.Bytes(c.seed, k.host)*odd1 ^ uint64(len(k.method))*odd2
	if len(k.route) > 0 {
		sum ^= maphash.Bytes(c.seed, k.route) * odd3
	}
	return sum
}

func (c *cache) get(sum uint64, k *cacheKey) *row {
	if c.slots == nil {
		return nil
	}
	s := &c.slots[sum%cacheSlots]
	h, m, r := int(s.hostLen), int(s.methodLen), int(s.routeLen)
	if s.row == nil || s.sum != sum || s.grpc != k.grpc ||
		len(k.host) != h || len(k.method) != m || len(k.route) != r || int(s.keyLen) != k.size() {
		return nil
	}
	if !bytes.Equal(s.key[h+m+r:s.keyLen], k.path) || !bytes.Equal(s.key[:h], k.host) ||
		!bytes.Equal(s.key[h:h+m], k.method) || !bytes.Equal(s.key[h+m:h+m+r], k.route) {
		return nil
	}
	return s.row
}

func (c *cache) put(sum uint64, k *cacheKey, r *row) {
	if k.size() > cacheKeyBytes {
		return
	}
	if c.slots == nil {
		c.slots = make([]slot, cacheSlots)
	}
	s := &c.slots[sum%cacheSlots]
	s.row, s.sum, s.grpc = r, sum, k.grpc
	// The conversions cannot overflow: the sum of the lengths is at most cacheKeyBytes.
	s.hostLen, s.methodLen, s.routeLen, s.keyLen = uint8(len(k.host)), uint8(len(k.method)), uint8(len(k.route)), uint8(k.size())
	n := copy(s.key[:], k.host)
	n += copy(s.key[n:], k.method)
	n += copy(s.key[n:], k.route)
	copy(s.key[n:], k.path)
}

func (c *cache) clear() { clear(c.slots) }
