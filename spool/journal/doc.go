// Package journal is the first place where events are stored: a few preallocated, memory-mapped segment files, in which the events
// remain until they are committed to the queue.
//
// # Promises
//
// An append consists of a reservation (one compare-and-swap), a copy, and a publish (one atomic store). It makes no system call, holds no
// lock during the copy, allocates nothing, and survives a SIGBUS from the mapping. A published record is in the page cache: it survives the
// death of the process at any instruction.
//
// # When data may be lost
//
// A power cut loses the records that the kernel has not yet written to the disk: the journal is never synced, because the queue is. A process
// that dies between reservation and publish leaves a gap, and loses only the event that it was writing. A damaged record is skipped; the
// records after it are still found.
//
// # Layout
//
// All integers are little endian. A segment file "journal-NN.seg" has Options.SegmentBytes bytes:
//
//	0     copy A of the header (64 bytes)
//	2048  copy B of the header (64 bytes), written after A, so that a torn write or a damaged sector leaves one copy intact
//	4096  records
//
//	header   0 magic "WSJSEG" (8) | 8 version (4) | 12 size of the file (4) | 16 epoch (16) | 32 generation (8)
//	         40 seq of the first record (8) | 48 zero (12) | 60 CRC32C of the 60 bytes before (4)
//	record   0 payload length (4) | 4 CRC32C (4) | 8 seq (8) | 16 payload | padding to a multiple of 8 bytes
//
// Length and CRC are one 64-bit word, which is written last. This write publishes the record. The CRC covers seq and payload, and is
// seeded with epoch, generation and the record's offset, so that a record from an earlier generation or at another offset is never valid.
//
// # Generations
//
// A segment goes from free to active to sealed and back to free. Each time it becomes active, it gets the next generation number of the
// epoch, and its first seq follows the last one of the previous generation. The segment that was freed last is reused first, so that light
// load touches few pages.
package journal
