package main

import (
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/spool"
)

// spoolShare is the part of data.bytes_max that the queue may take: it is what goes on growing when applying pauses at that
// limit, so that room for it has to be left.
const spoolShare = 4

// queueBytesMax is spool.bytes_max, or less where data.bytes_max is small.
func queueBytesMax(cfg *configs.Config) int64 {
	most := cfg.Spool.BytesMax.Int64()
	if all := cfg.Data.BytesMax.Int64(); all > 0 {
		most = min(most, all/spoolShare)
	}
	return max(most, spool.QueueBytesMin)
}

// spoolBytesMax is what the spool may grow to on disk: the queue and the journal.
func spoolBytesMax(cfg *configs.Config) int64 {
	return queueBytesMax(cfg) + int64(cfg.Spool.Segments)*cfg.Spool.SegmentBytes.Int64()
}
