// Package uploader moves events from the store into archive objects, and deletes them from the store afterwards.
//
// # Promises
//
//   - An event is deleted locally only if all of this is true: its object was written, read back, compared by hash and entered in the
//     catalogue; the event is older than the retention; and another check has shown that the object is still in place.
//   - Each run archives everything that is applied, old enough and not yet archived, however many runs were missed.
//   - The content of an object is decided only once, in a plan. The plan is durable before the first byte is sent, and every retry writes
//     the same bytes under the same key. So an upload that seemed to be lost does no harm if it arrives late.
//   - If a target is unreachable, nothing is lost: the job is retried forever, with increasing backoff.
//   - Memory is bounded for objects of any size (see [Options.ObjectBytes]).
//
// # Layout of a target
//
//	PREFIX/v1/dt=2026-11-23/hour=09/SERVICE_INSTANCE_EPOCH_FIRSTSEQ-LASTSEQ.ndjson.gz
//	PREFIX/v1/stats/dt=2026-11-23/hour=09/SERVICE_INSTANCE_EPOCH_FIRSTSEQ-LASTSEQ.ndjson.gz
//
// The first object holds events, the second the statistics of exactly these events.
//
// Service and instance are percent-encoded outside [A-Za-z0-9.-], so "_" is a safe separator. They are truncated to 72 bytes. Every line
// has the full names. Hours are UTC, and an object never spans two. Each object is one gzip member without a time in its header. Its
// metadata (see [MetaFormat] and the names that follow it) holds the format version, the counts, the hash of the NDJSON and the exact
// sequence runs. A directory keeps the metadata in a file beside the object, with ".json" appended to the name. This file is written last
// and removed first: readers ignore an object without it.
//
// S3 allows 2 KiB of metadata. If the metadata would exceed 1.5 KiB because of the runs, only their number is stored. Each
// line has its sequence number in any case.
//
// # When data may be lost
//
// This package loses no data as long as the local disk works. If the disk fails, everything that has not been archived is lost. This is
// why [Uploader.Shutdown] also archives the current hour.
//
// # When the target responds with an error
//
// s3_foreign.go recognizes servers that do not speak S3. s3_put.go handles an error of a PUT: it sends the request again with another
// type of checksum, checks whether the object exists, or fails. s3_hints.go writes the error message for the log. If a PUT or the
// read-back fails, the job ends (stopError in archive.go), the plan stays, and the job is run again (retry.go) after a pause of 1 s that
// doubles up to 5 min. 500, 503 and SlowDown are handled like any other error: nothing is lost, and the next attempt sends the same bytes
// under the same key.
//
// # Where to start
//
//   - uploader.go, run.go, retry.go: options, schedules, one job at a time, pauses after errors; status.go: the status for readiness and metrics
//   - archive.go: the archive job, from pending blocks to verified objects; plan.go makes the plans
//   - import.go: objects that another store archived; retention.go: deletion, locally and in the archive
//   - object.go, ndjson.go, statistics.go, statistics_object.go, buffer.go: how an object is built
//   - key.go, line.go, scan.go, meta.go: how an object is read
//   - target*.go, s3_*.go, targets.go, union.go: directories and buckets, the current archive and former ones
//   - stall.go, uptime.go, probe.go: requests without progress, the total time that wayside has been running, tests of the archive
package uploader
