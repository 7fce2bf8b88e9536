// Package crc32c computes CRC-32C (Castagnoli), the checksum of all of wayside's binary formats. CPUs have an
// instruction for it.
package crc32c

import "hash/crc32"

var table = crc32.MakeTable(crc32.Castagnoli)

// Sum returns the checksum of b.
func Sum(b []byte) uint32 { return crc32.Checksum(b, table) }

// Update returns the checksum of the bytes from which sum was computed, followed by b.
func Update(sum uint32, b []byte) uint32 { return crc32.Update(sum, table, b) }
