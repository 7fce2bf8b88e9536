// Package queue is the file in which the batches of an epoch wait to be applied: what package spool knows of bbolt.
//
// # Promises
//
// A [Change] is one synced transaction: a batch, what is removed, and the state that goes with both become durable together or
// not at all. A full disk or a full queue leaves the file as it was ([ErrFull]). After any other error the file may hold what
// the failed transaction wrote, and must not be written again: [File.Retire] it and go on in the next number. A fault of the
// mapped memory is an error, never the end of the process.
//
// # Layout
//
//	queue.db          bbolt. Bucket "batches": key first seq (8) | last seq (8) | records (4) | responses (4), big endian;
//	                  value an event.Batch. Bucket "meta": "state", the JSON of a [State], and "state.crc32c", its CRC32C,
//	                  little endian. queue-1.db, queue-2.db … follow after a failed sync.
//	queue.db.new      a file that is being created; renamed when it is synced
//	queue.db.opening  the number of attempts to open the file that did not come back
//
// # When data may be lost
//
// Never by this package. A damaged file is named ([ErrDamaged]) and left as it is: the caller sets it aside.
package queue
