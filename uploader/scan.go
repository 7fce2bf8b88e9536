package uploader

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"strconv"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzip"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Anyone who can write to a bucket can put anything there, and a gzip file of a megabyte can unpack to a gigabyte. So a reader keeps only
// one line of an object in memory, and stops at the size given in the object's own metadata.
const (
	// lineBytesMax limits one line. The longest event has about 20 KiB, the longest row of statistics about 100 KiB.
	lineBytesMax = 1 << 20
	// rawBytesMax limits the unpacked size of an object, whatever its metadata says. It is a hundred times the unpacked size of an object
	// with the default archive.object_bytes.
	rawBytesMax = 8 << 30
	// runsReadMax limits the sequence runs of one object, and RowNamesMax the statistics rows of its events.
	runsReadMax = 1 << 18
	RowNamesMax = 1 << 17
	// overheadBytes is the maximum number of bytes by which an object may be larger than its unpacked content.
	overheadBytes = 1 << 20
)

// ErrDamaged means that wayside would not write such an object. The target itself works, so other objects can be read.
var ErrDamaged = errors.New("archive object is damaged")

// Damagedf returns an error that wraps [ErrDamaged].
func Damagedf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// Contents describes an object that was read to its end.
type Contents struct {
	Bytes     uint64 // compressed size
	SHA256    string // hash of the object, in hex
	RawBytes  uint64 // size of the NDJSON
	RawSHA256 string // hash of the NDJSON, in hex
	Lines     uint64
	Rows      uint64          // number of responses
	Runs      []catalogue.Run // sequence numbers; nil if unknown, which is possible in a statistics object
	// Drops holds the latest drop record of each reason, according to a statistics object. It is nil if the drop records are unknown, as
	// in objects of older versions.
	Drops stats.Drops
	Meta  map[string]string

	names map[uint64]struct{} // hashes of the names of the statistics rows in the object
}

// MatchesMeta returns an error that wraps [ErrDamaged] if the content does not match the object's metadata.
func (c *Contents) MatchesMeta() error {
	if want := c.Meta[MetaRawSHA256]; c.RawSHA256 != want {
		return Damagedf("its content has hash %s, but its metadata says %.80q: see wayside archive verify", c.RawSHA256, want)
	}
	if want := c.Meta[MetaRows]; want != strconv.FormatUint(c.Rows, 10) {
		return Damagedf("it adds up to %d responses, but its metadata says %.40q: see wayside archive verify", c.Rows, want)
	}
	return nil
}

// ReadLines reads an object to its end and calls fn for each line, without its line feed. The slice is only valid during the call. The
// returned contents are nil if the object could not be opened. The error wraps [ErrDamaged] if the object is the cause.
func ReadLines(ctx context.Context, t Target, key string, fn func(line []byte) error) (*Contents, error) {
	return readLines(ctx, t, key, func(_ *Contents, line []byte) error { return fn(line) })
}

func readLines(ctx context.Context, t Target, key string, fn func(c *Contents, line []byte) error) (*Contents, error) {
	body, meta, err := t.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	c := &Contents{Meta: meta, names: map[uint64]struct{}{}}
	if err = CheckFormat(key, meta); err == nil {
		if err = c.read(ctx, body, fn); err != nil {
			err = fmt.Errorf("read %s: %w", key, err)
		}
	}
	if cerr := body.Close(); err == nil {
		err = cerr
	}
	return c, err
}

func (c *Contents) read(ctx context.Context, body io.Reader, fn func(c *Contents, line []byte) error) error {
	limit := uint64(rawBytesMax)
	if announced, known := c.Meta[MetaRawBytes]; known {
		n, err := strconv.ParseUint(announced, 10, 64)
		if err != nil || n > rawBytesMax {
			return Damagedf("%s is %.40q in its metadata: want a number up to %d", MetaRawBytes, announced, uint64(rawBytesMax))
		}
		limit = n
	}
	r, err := newLineReader(body, limit, sha256.New())
	for err == nil {
		var line []byte
		if line, err = r.next(); err != nil {
			break
		}
		c.Lines, c.RawBytes = r.lineCount, r.rawBytes
		if err := fn(c, line); err != nil {
			return fmt.Errorf("line %d: %w", c.Lines, err)
		}
		err = ctx.Err()
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	c.Bytes, c.SHA256, c.RawSHA256 = r.object.n, hexSum(r.object.h), hexSum(r.raw)
	return nil
}

// ScanEvents reads an event object to its end, checks each line and calls fn for it. text has no line feed; text and l are reused.
// Sequence numbers must ascend, and every line must be one that wayside would write into an object with this key. The error wraps
// [ErrDamaged] if the object is the cause.
func ScanEvents(ctx context.Context, t Target, key string, fn func(text []byte, l *Line) error) (*Contents, error) {
	o, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	var line Line
	return readLines(ctx, t, key, func(c *Contents, text []byte) error {
		if err := parseLine(text, &line, stats.HourOf(o.Hour), o.Epoch); err != nil {
			return err
		}
		if !line.IsDrop() {
			c.Rows++
			if err := c.addName(line.Row()); err != nil {
				return err
			}
		}
		if err := c.addNumber(line.Seq, &o); err != nil {
			return err
		}
		return fn(text, &line)
	})
}

// ScanStatistics is like ScanEvents, but for the statistics object that belongs to an event object. It calls fn for each row that
// counts at least one response.
func ScanStatistics(ctx context.Context, t Target, o *Object, fn func(stats.Key, *stats.Row) error) (*Contents, error) {
	var line statsLine
	return readLines(ctx, t, StatsKey(o.Key), func(c *Contents, text []byte) error {
		key, row, err := parseStatistics(text, &line, stats.HourOf(o.Hour), o.Epoch)
		if err == nil && line.Object != nil {
			err = c.describe(line.Object, o)
		}
		if err == nil {
			err = c.addName(catalogue.RowName{Host: key.Host, Method: key.Method, Label: key.Label, Route: key.Route})
		}
		if err != nil || row.Count == 0 {
			return err
		}
		c.Rows += row.Count
		return fn(key, row)
	})
}

// addNumber adds a sequence number to the runs.
func (c *Contents) addNumber(seq uint64, o *Object) error {
	n := len(c.Runs)
	switch {
	case seq < o.First || seq > o.Last:
		return Damagedf("sequence number %d in an object of %d to %d", seq, o.First, o.Last)
	case n > 0 && c.Runs[n-1].Last+1 == seq:
		c.Runs[n-1].Last = seq
	case n > 0 && c.Runs[n-1].Last >= seq:
		return Damagedf("sequence number %d after %d", seq, c.Runs[n-1].Last)
	case n == runsReadMax:
		return Damagedf("more than %d runs of sequence numbers", n)
	default:
		c.Runs = append(c.Runs, catalogue.Run{First: seq, Last: seq})
	}
	return nil
}

var nameSeed = maphash.MakeSeed()

// addName counts the different names of rows, because callers that add up rows keep all of them in memory.
func (c *Contents) addName(name catalogue.RowName) error {
	c.names[maphash.Comparable(nameSeed, name)] = struct{}{}
	if len(c.names) > RowNamesMax {
		return Damagedf("more than %d rows of statistics", RowNamesMax)
	}
	return nil
}

// digest reads a gzip object to its end and describes it. The content may have at most rawMax bytes. The content is hashed only if raw is
// not nil. The number of responses in the result is 0.
func digest(body io.Reader, rawMax uint64, raw hash.Hash) (*built, error) {
	r, err := newLineReader(body, min(rawMax, rawBytesMax), raw)
	for err == nil {
		_, err = r.next()
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	d := &built{lines: r.lineCount, rawBytes: r.rawBytes, objectBytes: r.object.n, objectSHA256: hexSum(r.object.h)}
	if raw != nil {
		d.rawSHA256 = hexSum(raw)
	}
	return d, nil
}

// unpacker reads objects back after they have been written, and reuses its memory. It is not safe for concurrent use.
type unpacker struct {
	in  *bufio.Reader
	zip gzip.Reader
}

// digest reads a gzip object to its end. The content may have at most rawMax bytes. The result has the object's hash and both sizes.
func (u *unpacker) digest(body io.Reader, rawMax uint64) (*built, error) {
	if u.in == nil {
		u.in = bufio.NewReaderSize(nil, flushBytes)
	}
	object := limitedSource{r: body, h: sha256.New(), limit: rawMax + overheadBytes}
	content := limitedCount{limit: rawMax}
	u.in.Reset(&object)
	err := u.zip.Reset(u.in)
	if err == nil {
		_, err = u.zip.WriteTo(&content)
	}
	u.in.Reset(nil)
	switch {
	case object.err != nil:
		return nil, object.err
	case errors.Is(err, io.EOF):
		return nil, Damagedf("%w", io.ErrUnexpectedEOF)
	case err != nil:
		return nil, Damagedf("%w", err)
	}
	return &built{rawBytes: content.n, objectBytes: object.n, objectSHA256: hexSum(object.h)}, nil
}

// limitedCount counts the bytes that are written to it, and fails beyond limit bytes.
type limitedCount struct{ n, limit uint64 }

func (c *limitedCount) Write(p []byte) (int, error) {
	if c.n += uint64(len(p)); c.n > c.limit {
		return 0, Damagedf("it unpacks to more than %d bytes", c.limit)
	}
	return len(p), nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// lineReader reads the lines of one object, within limits.
type lineReader struct {
	object limitedSource
	lines  *bufio.Reader
	raw    hash.Hash // hash of the content; nil if it is not needed
	long   []byte    // a line that does not fit into the buffer
	limit  uint64    // maximum number of unpacked bytes

	rawBytes  uint64 // number of bytes unpacked so far
	lineCount uint64
}

func newLineReader(body io.Reader, limit uint64, raw hash.Hash) (*lineReader, error) {
	r := &lineReader{raw: raw, limit: limit, object: limitedSource{r: body, h: sha256.New(), limit: limit + overheadBytes}}
	zip, err := gzip.NewReader(&r.object)
	if err != nil {
		return nil, r.explain(err)
	}
	r.lines = bufio.NewReaderSize(zip, flushBytes)
	return r, nil
}

// next returns the next line, without its line feed, or io.EOF at the end of the object. The line is valid until
// the next call. Other errors wrap [ErrDamaged] or come from the target.
func (r *lineReader) next() ([]byte, error) {
	r.long = r.long[:0]
	for {
		piece, err := r.lines.ReadSlice('\n')
		r.rawBytes += uint64(len(piece))
		switch {
		case r.rawBytes > r.limit:
			return nil, Damagedf("it continues after the %d bytes that its metadata announces", r.limit)
		case len(r.long)+len(piece) > lineBytesMax:
			return nil, Damagedf("line %d is longer than %d bytes", r.lineCount+1, lineBytesMax)
		case errors.Is(err, io.EOF) && len(piece)+len(r.long) == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, r.explain(err)
		}
		if r.raw != nil {
			r.raw.Write(piece) // a hash never fails
		}
		if err != nil {
			r.long = append(r.long, piece...)
			continue
		}
		if len(r.long) > 0 {
			r.long = append(r.long, piece...)
			piece = r.long
		}
		r.lineCount++
		return bytes.TrimSuffix(piece, []byte{'\n'}), nil
	}
}

// explain returns the target's own error, or otherwise an error that says that the object is damaged.
func (r *lineReader) explain(err error) error {
	if r.object.err != nil {
		return r.object.err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return Damagedf("%w", err)
}

// limitedSource counts and hashes the bytes that are read through it, keeps an error of its reader, and fails after limit bytes.
type limitedSource struct {
	r     io.Reader
	h     hash.Hash
	n     uint64
	limit uint64
	err   error // error of r, except io.EOF
}

func (s *limitedSource) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.h.Write(p[:n])
	s.n += uint64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	if s.n > s.limit {
		return n, Damagedf("it is larger than its unpacked content")
	}
	return n, err // io.EOF must not be wrapped
}

// Count holds the numbers of lines, rows and bytes in the event objects of a target.
type Count struct {
	Objects  int
	Lines    int   // all lines
	Rows     int   // responses: lines that are not drop records
	Distinct int   // different event IDs
	Bytes    int64 // compressed size
}

// CountTarget counts the contents of all event objects of a target. It keeps 16 bytes per line in memory.
func CountTarget(ctx context.Context, t Target) (Count, error) {
	var c Count
	ids := map[uuid.UUID]struct{}{}
	err := t.List(ctx, EventsPrefix, func(o ObjectInfo) error {
		c.Objects++
		c.Bytes += o.Size
		_, err := ReadLines(ctx, t, o.Key, func(line []byte) error {
			c.Lines++
			if !bytes.Contains(line, dropMark) {
				c.Rows++
			}
			rest, found := bytes.CutPrefix(line, idMark)
			if !found || len(rest) < 36 {
				return errors.New("it does not begin with an event_id")
			}
			id, err := uuid.ParseBytes(rest[:36])
			ids[id] = struct{}{}
			return err
		})
		return err
	})
	c.Distinct = len(ids)
	return c, err
}

// dropMark cannot occur inside a JSON string, because quotation marks are escaped there.
var dropMark = []byte(`,"kind":"drop"`)

var idMark = []byte(`{"event_id":"`)
