// Package uploader moves events from the store into archive objects, and lets the store forget them afterwards.
//
// # Promises
//
//   - An event is deleted locally only after the object that holds it was written, read back, compared byte for byte by
//     hash, entered in the catalogue, grew older than the retention, and was found in place once more.
//   - Everything that is applied, old enough and not archived is archived by the next run, however many were missed.
//   - What goes into an object is decided once, by a plan that is durable before the first byte is sent. A retry executes
//     the same plan to the same bytes under the same key, so that an upload that was thought lost and appears later does
//     no harm.
//   - A target that is away loses nothing: the job is retried with growing pauses for ever.
//   - Memory is bounded whatever the size of an object, see [Options.ObjectBytes].
//
// # Layout of a target
//
//	PREFIX/v1/dt=2026-11-23/hour=09/SERVICE_INSTANCE_EPOCH_FIRSTSEQ-LASTSEQ.ndjson.gz
//	PREFIX/v1/stats/dt=2026-11-23/hour=09/SERVICE_INSTANCE_EPOCH_FIRSTSEQ-LASTSEQ.ndjson.gz
//
// The second holds the statistics of exactly the events in the first.
//
// Service and instance are percent-encoded outside [A-Za-z0-9.-], so that "_" separates, and cut at 72 bytes; the full
// names stand in every line. Hours are UTC, and an object never spans two. Each object is one gzip member whose header
// carries no time. Its metadata (see [Meta]) holds the format version, counts, hash of the NDJSON and the exact sequence
// runs; a directory keeps it in a file with ".json" appended to the name, written last and removed first: an object
// without it does not count as there.
//
// S3 allows 2 KiB of metadata. Where the runs do not fit into 1.5 KiB with the rest, only their number is stored; the
// lines themselves carry every sequence number.
//
// # When data may be lost
//
// Never by this package while the local disk lives. What is not archived when the disk dies is gone, which is why
// [Uploader.Shutdown] archives the open hour too.
package uploader
