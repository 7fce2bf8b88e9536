// Package queue manages the files in which the batches of an epoch wait to be applied. It hides bbolt from package spool.
//
// # Promises
//
// A [Change] is one synced transaction: a new batch, the removal of others, and the state that results from both become durable together or
// not at all. If the disk or the queue is full, the file remains unchanged ([ErrFull]). After any other error the file may contain part of
// the failed transaction and must not be written again: call [File.Retire] and continue in the file with the next number. A fault in mapped
// memory is returned as an error and never ends the process.
//
// # Layout
//
//	queue.db          bbolt. Bucket "batches": key first seq (8) | last seq (8) | records (4) | responses (4), big endian;
//	                  value an event.Batch. Bucket "meta": "state", the JSON of a [State], and "state.crc32c", its CRC32C,
//	                  little endian. queue-1.db, queue-2.db … follow after a failed sync.
//	queue.db.new      a file that is being created; it is renamed once it has been synced
//	queue.db.opening  the number of attempts to open the file during which the process died
//
// # When data may be lost
//
// This package loses no data. It reports a damaged file ([ErrDamaged]) and leaves it unchanged; the caller moves it to the quarantine.
package queue
