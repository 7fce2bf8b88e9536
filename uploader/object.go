package uploader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// gzipLevel belongs to [FormatVersion] 1: the same plan must give the same bytes. Chosen by measurement (BenchmarkLevels,
// docs/adr/0009-archive-compression.md): half the time of level 6 for one part in a hundred more of the raw size.
const gzipLevel = 2

// flushBytes is how much NDJSON is collected before it is hashed and compressed.
const flushBytes = 64 << 10

// ErrSource says that the store's events are not those of the plan. Nothing was sent.
var ErrSource = errors.New("events do not match the archive plan")

// built is what an object turned out to be.
type built struct {
	rows, lines  uint64
	rawBytes     uint64
	rawSHA256    string
	objectBytes  uint64
	objectSHA256 string
	encodedBytes uint64 // of the event records, for the estimate
}

// builder makes objects one after the other and keeps its memory between them. Not for concurrent use.
type builder struct {
	body *objectBuffer
	objectWriter
	fold fold // of the events built last
}

func newBuilder() *builder { return &builder{body: &objectBuffer{}, objectWriter: newObjectWriter()} }

// build writes the plan's object into b.body. It fails with ErrSource when the events are not exactly those planned. With an
// error, what it returns says how far it came.
func (b *builder) build(ctx context.Context, src Source, p *catalogue.Plan) (*built, error) {
	b.body.reset()
	b.body.again = func(w io.Writer) error {
		again := newObjectWriter()
		_, err := again.events(ctx, w, src, p, &fold{})
		return err
	}
	return b.events(ctx, b.body, src, p, &b.fold)
}

// objectWriter writes objects. Not for concurrent use.
type objectWriter struct {
	zip  *gzip.Writer
	line []byte
}

func newObjectWriter() objectWriter {
	return objectWriter{line: make([]byte, 0, flushBytes+2*event.SizeMax)}
}

// events writes the object of a plan, and its statistics into f.
func (b *objectWriter) events(ctx context.Context, w io.Writer, src Source, p *catalogue.Plan, f *fold) (*built, error) {
	if p.FormatVersion != FormatVersion {
		return nil, fmt.Errorf("plan %d asks for object format %d, this version writes %d", p.ID, p.FormatVersion, FormatVersion)
	}
	out, raw := &built{}, sha256.New()
	object := &countingHash{w: w, h: sha256.New()}
	if err := b.start(object); err != nil {
		return nil, err
	}
	lines, cursor := newLineWriter(p), runCursor{runs: p.Runs}
	b.line = b.line[:0]
	f.reset()
	err := src.Events(ctx, p, func(seq uint64, row *catalogue.RowName, e *event.Event) error {
		if !cursor.next(seq) {
			return fmt.Errorf("%w: sequence number %d is not the next of %s", ErrSource, seq, p.Key)
		}
		if e.IsResponse() {
			out.rows++
		}
		out.lines++
		out.encodedBytes += uint64(e.Size()) //nolint:gosec // not negative
		b.line = lines.appendLine(b.line, seq, row, e)
		f.add(row, e)
		if len(b.line) < flushBytes {
			return nil
		}
		return b.flush(ctx, out, raw)
	})
	if err == nil {
		err = b.flush(ctx, out, raw)
	}
	if err == nil {
		err = b.zip.Close()
	}
	out.objectBytes = object.n
	if err != nil {
		return out, fmt.Errorf("write events of %s: %w", p.Key, err)
	}
	if out.rows != p.Rows || out.lines != p.Lines {
		return out, fmt.Errorf("%w: %d rows in %d lines instead of %d in %d for %s", ErrSource, out.rows, out.lines, p.Rows, p.Lines, p.Key)
	}
	out.rawSHA256, out.objectSHA256 = hex.EncodeToString(raw.Sum(nil)), hex.EncodeToString(object.h.Sum(nil))
	return out, nil
}

func (b *objectWriter) start(w io.Writer) error {
	if b.zip != nil {
		b.zip.Reset(w)
		return nil
	}
	// The header keeps its zero time, no name and an unknown system: the bytes depend on the events alone.
	zip, err := gzip.NewWriterLevel(w, gzipLevel)
	b.zip = zip
	return err
}

func (b *objectWriter) flush(ctx context.Context, out *built, raw hash.Hash) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	raw.Write(b.line) // a hash never fails
	out.rawBytes += uint64(len(b.line))
	_, err := b.zip.Write(b.line)
	b.line = b.line[:0]
	return err
}

// runCursor walks through the sequence numbers of a plan.
type runCursor struct {
	runs []catalogue.Run
	at   uint64 // the next number is runs[0].First + at
}

// next reports whether seq is the next sequence number, and steps over it.
func (c *runCursor) next(seq uint64) bool {
	if len(c.runs) == 0 || seq != c.runs[0].First+c.at {
		return false
	}
	c.at++
	if seq == c.runs[0].Last {
		c.runs, c.at = c.runs[1:], 0
	}
	return true
}

// countingHash hashes and counts what passes through to w.
type countingHash struct {
	w io.Writer
	h hash.Hash
	n uint64
}

func (c *countingHash) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.h.Write(p[:n])
	c.n += uint64(n) //nolint:gosec // not negative
	return n, err
}
