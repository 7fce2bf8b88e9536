package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// A response is counted not only in its hour but, for two days, also in its minute. The transaction that writes the row of an hour also
// writes the rows of its minutes. So the row and its minutes always include the same batches, and a replay folds a batch into both or
// into neither. Only the part of the minutes that has not been stored yet is kept in memory.
//
// The minutes of a name are grouped in buckets of five: one value has the rows of up to five minutes, so the name is stored only once for
// all of them. A value is: CRC32C of the rest (4), version 1 (1), n × (minute in the bucket (1), varint length, statistics), ascending. A
// minute without responses has no row. A minute never has more rows than its hour, because both use the same names.
//
// The minutes of an hour add up to the row of the hour. This is not true of hours that are listed as incomplete: their rows include
// responses from an archive that has no minutes.

const (
	// MinuteHours is the number of hours, in addition to the current one, for which there are minutes.
	MinuteHours = 48

	bucketMinutes = 5
	hourBuckets   = stats.HourMinutes / bucketMinutes

	minutesVersion   = 1
	minutesHeadBytes = checksumBytes + 1
	// spareRowsMax limits the number of empty rows that are kept for reuse.
	spareRowsMax = 1024
)

// minuteRow is the row of a minute, or the part of it that has not been stored.
type minuteRow struct {
	minute int64 // minutes since 1970
	row    *stats.BufferedRow
}

func bucketOf(minute int64) int64 {
	b := minute / bucketMinutes
	if minute%bucketMinutes < 0 {
		b--
	}
	return b
}

func appendBucketKey(dst []byte, bucket int64, name []byte) []byte {
	return append(appendHourKey(dst, prefixMinute, bucket), name...)
}

// minutes records which minutes are kept, and counts those in memory. It is guarded by Statistics.mu.
type minutes struct {
	from       int64                // minutes from this one on are kept
	begun      bool                 // set as soon as from is known
	incomplete map[int64]bool       // hours whose minutes are incomplete
	open       int                  // number of minutes of live rows that have not been stored
	spare      []*stats.BufferedRow // empty rows to be reused for minutes
}

// add counts an event in its minute.
func (m *minutes) add(row *liveRow, e *event.Event) {
	minute := stats.MinuteOfMicros(e.TimeMicros)
	if minute < m.from {
		return
	}
	m.of(row, minute).Add(e)
}

// of returns the part of a minute's row that has not been stored.
func (m *minutes) of(row *liveRow, minute int64) *stats.BufferedRow {
	for i := len(row.minutes) - 1; i >= 0; i-- {
		if row.minutes[i].minute == minute {
			return row.minutes[i].row
		}
	}
	var fresh *stats.BufferedRow
	if n := len(m.spare); n > 0 {
		fresh, m.spare = m.spare[n-1], m.spare[:n-1]
	} else {
		fresh = new(stats.BufferedRow)
	}
	row.minutes = append(row.minutes, minuteRow{minute, fresh})
	m.open++
	return fresh
}

// take takes the unstored minutes of a row, in ascending order, for storing them.
func (m *minutes) take(row *liveRow) []minuteRow {
	row.writingMinutes, row.minutes = row.minutes, row.writingMinutes[:0]
	slices.SortFunc(row.writingMinutes, func(a, b minuteRow) int { return cmp.Compare(a.minute, b.minute) })
	for len(row.writingMinutes) > 0 && row.writingMinutes[0].minute < m.from {
		m.release(row.writingMinutes[:1])
		row.writingMinutes = row.writingMinutes[1:] // pruned in the meantime
	}
	return row.writingMinutes
}

// written must be called after take. If done is set, the minutes have been stored; otherwise, written gives them back to the row.
func (m *minutes) written(row *liveRow, done bool) {
	if !done {
		for _, w := range row.writingMinutes {
			again := new(stats.Row)
			w.row.AddTo(again)
			m.of(row, w.minute).Merge(again)
		}
	}
	m.release(row.writingMinutes)
	row.writingMinutes = row.writingMinutes[:0]
}

// release keeps some of the given rows for reuse.
func (m *minutes) release(rows []minuteRow) {
	m.open -= len(rows)
	for i, r := range rows {
		if len(m.spare) < spareRowsMax {
			r.row.Reset()
			m.spare = append(m.spare, r.row)
		}
		rows[i].row = nil
	}
}

// minuteWriter adds minutes to the stored ones within one transaction. Badger retains the slices until the commit.
type minuteWriter struct {
	s       *Statistics
	txn     *badger.Txn
	buf     []byte
	scratch stats.Row
	encoded []byte
}

// add adds minutes of a name. They must be in ascending order, and add does not change them.
func (w *minuteWriter) add(name []byte, minutes []minuteRow) error {
	for len(minutes) > 0 {
		bucket, n := bucketOf(minutes[0].minute), 1
		for n < len(minutes) && bucketOf(minutes[n].minute) == bucket {
			n++
		}
		if err := w.addBucket(bucket, name, minutes[:n]); err != nil {
			return err
		}
		minutes = minutes[n:]
	}
	return nil
}

func (w *minuteWriter) addBucket(bucket int64, name []byte, minutes []minuteRow) error {
	from := len(w.buf)
	w.buf = appendBucketKey(w.buf, bucket, name)
	value := len(w.buf)
	key := w.buf[from:value:value]
	w.buf = append(w.buf, 0, 0, 0, 0, minutesVersion)
	found, err := get(w.txn, key, func(stored []byte) error {
		at := len(w.buf)
		err := w.merge(stored, bucket, minutes)
		if err == nil || errors.Is(err, ErrSchema) {
			return err
		}
		w.buf = w.buf[:at]
		w.appendRows(bucket, minutes)
		return w.s.setRowAside(key, stored, err)
	})
	if err != nil {
		return err
	}
	if !found {
		w.appendRows(bucket, minutes)
	}
	seal(w.buf[value:])
	return set(w.txn, key, w.buf[value:len(w.buf):len(w.buf)])
}

func (w *minuteWriter) appendRows(bucket int64, minutes []minuteRow) {
	for _, m := range minutes {
		w.scratch.Reset()
		m.row.AddTo(&w.scratch)
		w.appendRow(m.minute-bucket*bucketMinutes, &w.scratch)
	}
}

func (w *minuteWriter) appendRow(minute int64, row *stats.Row) {
	w.encoded, _ = row.AppendBinary(w.encoded[:0]) // its error is always nil
	w.appendBody(minute, w.encoded)
}

func (w *minuteWriter) appendBody(minute int64, body []byte) {
	w.buf = append(w.buf, byte(minute)) // less than bucketMinutes
	w.buf = binary.AppendUvarint(w.buf, uint64(len(body)))
	w.buf = append(w.buf, body...)
}

// merge appends the sum of the stored minutes and the given minutes.
func (w *minuteWriter) merge(stored []byte, bucket int64, minutes []minuteRow) error {
	err := eachMinute(stored, bucket, func(minute int64, body []byte) error {
		for len(minutes) > 0 && minutes[0].minute < minute {
			w.appendRows(bucket, minutes[:1])
			minutes = minutes[1:]
		}
		if len(minutes) == 0 || minutes[0].minute > minute {
			w.appendBody(minute-bucket*bucketMinutes, body)
			return nil
		}
		w.scratch.Reset()
		minutes[0].row.AddTo(&w.scratch)
		minutes = minutes[1:]
		if err := w.scratch.AddEncoded(body); err != nil {
			return wrapDecode(err)
		}
		w.appendRow(minute-bucket*bucketMinutes, &w.scratch)
		return nil
	})
	if err == nil {
		w.appendRows(bucket, minutes)
	}
	return err
}

// eachMinute calls fn with the encoded row of each minute in a stored value, in ascending order. It returns fn's error,
// or one that wraps ErrDamaged or ErrSchema.
func eachMinute(value []byte, bucket int64, fn func(minute int64, body []byte) error) error {
	if len(value) < minutesHeadBytes || !sealed(value) {
		return fmt.Errorf("%w: minutes of %d bytes", ErrDamaged, len(value))
	}
	if version := value[checksumBytes]; version > minutesVersion {
		return fmt.Errorf("%w: minutes of version %d, but this version supports only up to %d", ErrSchema, version, minutesVersion)
	}
	in, last := varint.Reader{Rest: value[minutesHeadBytes:]}, -1
	for len(in.Rest) > 0 {
		minute, size := int(in.Byte()), in.Length(len(in.Rest))
		if in.Bad || minute <= last || minute >= bucketMinutes || size > len(in.Rest) {
			return fmt.Errorf("%w: minutes of %d bytes", ErrDamaged, len(value))
		}
		body := in.Rest[:size:size]
		in.Rest = in.Rest[size:]
		last = minute
		if err := fn(bucket*bucketMinutes+int64(minute), body); err != nil {
			return err
		}
	}
	return nil
}
