package load

import (
	"math/bits"
	"sync/atomic"
)

const (
	chunkWords = 1 << 14               // 64-bit words in a chunk: 1,048,576 nonces in 128 KiB
	chunkBits  = chunkWords * 64       //
	chunksMax  = 1 << 12               //
	noncesMax  = chunkBits * chunksMax // 2^32
)

// NonceMax is the largest nonce that a [Bitmap] can contain.
const NonceMax = noncesMax - 1

type bitmapChunk [chunkWords]atomic.Uint64

// Bitmap is a set of nonces with one bit for each nonce, in chunks of a million bits that are allocated when they are first used. The
// zero value is empty. All methods may be called concurrently. A method that reads the set sees every nonce that was added before the
// call.
type Bitmap struct {
	chunks [chunksMax]atomic.Pointer[bitmapChunk]
}

// Set adds the nonce and reports whether it was new. A nonce above [NonceMax] is not added, and Set returns false.
func (b *Bitmap) Set(nonce uint64) bool {
	if nonce > NonceMax {
		return false
	}
	mask := uint64(1) << (nonce % 64)
	return b.chunk(nonce)[nonce%chunkBits/64].Or(mask)&mask == 0
}

// Has reports whether the nonce is in the set.
func (b *Bitmap) Has(nonce uint64) bool {
	if nonce > NonceMax {
		return false
	}
	c := b.chunks[nonce/chunkBits].Load()
	return c != nil && c[nonce%chunkBits/64].Load()>>(nonce%64)&1 == 1
}

// Add adds the nonces of another set. Nonces that are added to the other set at the same time may be missing.
func (b *Bitmap) Add(other *Bitmap) {
	for i := range other.chunks {
		c := other.chunks[i].Load()
		if c == nil {
			continue
		}
		to := b.chunk(uint64(i) * chunkBits)
		for j := range c {
			to[j].Or(c[j].Load())
		}
	}
}

// Count returns the number of nonces in the set.
func (b *Bitmap) Count() uint64 {
	var n int
	for i := range b.chunks {
		c := b.chunks[i].Load()
		if c == nil {
			continue
		}
		for j := range c {
			n += bits.OnesCount64(c[j].Load())
		}
	}
	return uint64(n)
}

// Missing returns the number of nonces that are in b but not in other, and the first of these, at most limit.
func (b *Bitmap) Missing(other *Bitmap, limit int) (count uint64, first []uint64) {
	for i := range b.chunks {
		c := b.chunks[i].Load()
		if c == nil {
			continue
		}
		o := other.chunks[i].Load()
		for j := range c {
			rest := c[j].Load()
			if o != nil {
				rest &^= o[j].Load()
			}
			count += uint64(bits.OnesCount64(rest))
			for ; rest != 0 && len(first) < limit; rest &= rest - 1 {
				first = append(first, uint64(i)*chunkBits+uint64(j)*64+uint64(bits.TrailingZeros64(rest)))
			}
		}
	}
	return count, first
}

func (b *Bitmap) chunk(nonce uint64) *bitmapChunk {
	slot := &b.chunks[nonce/chunkBits]
	if c := slot.Load(); c != nil {
		return c
	}
	slot.CompareAndSwap(nil, new(bitmapChunk)) // if two callers do this at the same time, both use the same chunk
	return slot.Load()
}
