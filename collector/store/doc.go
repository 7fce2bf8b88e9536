// Package store keeps the books: blocks of events, hourly statistics, and, for each traffic process, the number of the last event that
// has been applied. They are in one Badger database, which only one process at a time can open.
//
// # Promises
//
//   - Applied once. [Store.Apply] writes a batch's events, the epoch's watermark, the caller's path state and the totals in one synced
//     transaction. Events at or below the watermark are skipped, so replaying a batch changes nothing.
//   - Rows agree with events. Statistics are folded in memory, and a checkpoint stores them with the number of the last batch that each
//     row includes. After a crash, the batches since the checkpoint are folded again from their blocks, each into exactly those rows that
//     do not include the batch. [Store.Account] reads the totals and the sum over the rows consistently.
//   - Archive before delete. [Catalogue.DeleteBlocks] deletes a block only if its plan is verified and the checkpoint includes its batch.
//   - A disk error does not count as an error of the batch: it wraps [ErrUnavailable]. After a commit whose outcome is unknown, the store
//     rejects all further writes ([ErrFailed]) until it is reopened, because continuing could apply a batch twice.
//   - Bounded. At most [Options.LiveRowsMax] rows stay in memory; readers hold one row and one block at a time.
//
// # When data may be lost
//
// No data is lost when the process dies, or in a power loss after Apply has returned. Only damage loses data. If Badger cannot open a
// store, or Verify found damage ([Condemn]), Open moves the whole store to the quarantine folder, with a report beside it, and creates an
// empty store (set_aside.go). Events that were applied, acknowledged and archived are restored from the archive ([Store.Refill], ADR 85);
// those that were not archived count as quarantined. Events that were not acknowledged come from the spool again. No event can be in the
// new store twice, and none is archived twice ([Catalogue.ImportObject]): the epochs of the lost store are unreconciled
// ([Accounts.Unreconciled]) until the archive has been checked.
//
// Badger writes through memory maps. On a full disk, the kernel may therefore kill the process with SIGBUS. This loses no data, but the
// process that opens a store must not be the one that carries traffic.
//
// # Where things are
//
// A [Store] consists of components, each of which owns a part of the state and its locks. Data flows like this:
//
//	apply.go, apply_txn.go       a batch becomes blocks, and one transaction
//	statistics.go                its events are folded into rows in memory
//	checkpoint.go, rollup.go     rows are stored, and summed over days
//	minutes.go, minutes_kept.go  rows per minute, for two days
//	marks.go, runs.go            named points in time; when traffic processes ran
//	rows_query.go, rows_of.go, sums_query.go, minutes_query.go, events.go, drops.go    queries
//	catalogue.go, plan_states.go    blocks are planned into archive objects, verified, deleted
//	accounts.go, ledgers.go, ledger_backup.go, unreconciled.go    totals, and the state of each epoch
//	open.go, replay.go, set_aside.go, orphans.go, ledger_restore.go    the states that Open may find
//	refill.go, import.go, import_object.go    responses from an archive
//	log_imports.go    responses from access logs of other servers
//	forget.go, forget_events.go, forget_minutes.go, space_expunge.go    removal on request
//	verify.go, verify_figures.go, verify_minutes.go, verify_rollups.go    checks of everything
//
// Package block implements the format of blocks, and package badgerfiles handles Badger's files. Neither depends on the Store.
//
// # Layout
//
// <Dir>/ is Badger's folder. It also has a file "schema", with the schema version as text and its CRC32C. With this file, wayside
// recognizes a store of a newer version before Badger opens the folder. Beside this folder:
//
//	<Dir>.lock         locked while the store is open; not empty after a store has been created
//	<Dir>.ledgers      a copy of the ledgers, in case the store is lost (ledger_backup.go, ADR 60)
//	<Dir>.opening      exists while the store is being opened; the text of a Go crash during that time is written to it
//	<Dir>.condemned    says that Verify found damage, and the next Open must set the store aside
//	<Dir>.cut          says that the last log has lost its end, until the store has recorded that
//	<Dir>.unlisted/    links to tables that the MANIFEST does not list, while the store is being opened
//	<Dir>/../reserve   disk space that is freed if the disk is too full to open the store
//
// Keys, with widths in bytes. Numbers are big endian, so they sort, and hours have their sign bit flipped:
//
//	's'                                               schema: version (4), when the books began (8, µs)
//	'a' epoch(16)                                     unreconciled epoch: 1; 2 after the import of its objects; 'a' alone: all epochs
//	'm'                                               counters: see below
//	'k'                                               checkpoint: number of the last batch that all rows include (8)
//	'w' epoch(16)                                     watermark: seq (8), applied (8), quarantined (8), first seq applied (8)
//	'l' epoch(16)                                     ledger of a finished epoch: JSON
//	'L' id(16)                                        imported access log: JSON; see log_imports.go
//	'n' batch(8)                                      batch record: the batch's blocks; deleted below the checkpoint
//	'b' hour(8) batch(8) index(2)                     block of up to 2,048 events of one hour, see package block
//	'u' hour(8) batch(8) index(2)                     header of a pending block, which is in no plan yet
//	'y' bucket(8) name                                five minutes of a row: CRC32C (4), version (1), see minutes.go
//	'Y'                                               first minute that is kept; 'Y' hour(8): minutes of the hour are incomplete
//	'r' hour(8) n host n method label                 row: CRC32C (4), last batch included (8), statistics; n is a varint
//	'r' hour(8) n host n+16384 method n route label   row with a route
//	't' hour(8) epoch(16)                             figures of drop records: CRC32C (4), figures by reason; see drops.go
//	'i' name                                          first and last hour of a row name (8, 8); 'i' alone: complete
//	'd' day(8), 'f' span(8), 'h' quarter(8)           mark: the sums of a day, 32 days, or six hours are valid
//	'e' day(8) name, 'g' span(8) name, 'q' quarter(8) name  sum of a name's rows, encoded as a row; see rollup.go
//	'o' day(8), 'v' day(8) name                       until schema 3: a second copy of recent rows; deleted by Open
//	'p' key                                           path state, opaque
//	'c' state(1) plan(8)                              plan: version (1), zstd of JSON; state 0 deleted, 1 verified, 2 planned
//	'g' time(8)                                       capacity sample: JSON; see operations.go
//	'j' name                                          state of a scheduled job: JSON
//	'M' time(8)                                       mark: JSON; see marks.go
//	'R' time(8) epoch(16)                             run of a traffic process: end (8), 1 if it shut down (1); see runs.go
//	'x'                                               the store must be refilled from the archive; see refill.go
//	'z'                                               padding without meaning; see Flatten
//
// Values are little endian. The counters are seven numbers of 8 bytes: last batch, next plan, applied, quarantined, archived, deleted,
// numbers given to ledgers.
package store
