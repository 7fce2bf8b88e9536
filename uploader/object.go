package uploader

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// gzipLevel is part of [FormatVersion] 1, because the same plan must always give the same bytes. It takes half the time of level 6, and
// the difference in output size is 1 % of the raw size (BenchmarkLevels, docs/adr/0009-archive-compression.md).
const gzipLevel = 2

// flushBytes is the amount of NDJSON that is collected before it is hashed and compressed.
const flushBytes = 64 << 10

// ErrSource means that the store's events are not the events of the plan. Nothing was sent.
var ErrSource = errors.New("events do not match the archive plan")

// built describes a finished object.
type built struct {
	rows, lines  uint64
	rawBytes     uint64
	rawSHA256    string
	objectBytes  uint64
	objectSHA256 string
	encodedBytes uint64 // size of the event records, for the estimate
}

// builder builds one object after another and reuses its memory. It is not safe for concurrent use.
type builder struct {
	body *objectBuffer
	objectWriter
	fold     fold // statistics of the most recently built events
	unpacker unpacker
}

func newBuilder() *builder { return &builder{body: &objectBuffer{}, objectWriter: newObjectWriter()} }

// build writes the plan's object into b.body. It fails with ErrSource if the events are not exactly those of the plan. Even after an
// error, it returns a description of the part that has been written.
func (b *builder) build(ctx context.Context, src Source, p *catalogue.Plan) (*built, error) {
	b.body.reset()
	b.body.again = func(w io.Writer) error {
		again := newObjectWriter()
		_, err := again.events(ctx, w, src, p, &fold{})
		return err
	}
	return b.events(ctx, b.body, src, p, &b.fold)
}

// objectWriter writes objects: call start, append lines to line, calling flushFull after each, then call finish. It is
// not safe for concurrent use.
type objectWriter struct {
	zip  *gzip.Writer
	line []byte // lines that have not been compressed yet

	// State of the object that is being written:
	out    *built
	raw    hash.Hash
	object countingHash
}

func newObjectWriter() objectWriter {
	return objectWriter{line: make([]byte, 0, flushBytes+2*event.SizeMax)}
}

// events writes the object of a plan, and adds up its statistics in f.
func (b *objectWriter) events(ctx context.Context, w io.Writer, src Source, p *catalogue.Plan, f *fold) (*built, error) {
	if p.FormatVersion != FormatVersion {
		return nil, fmt.Errorf("plan %d asks for object format %d, but this version writes %d", p.ID, p.FormatVersion, FormatVersion)
	}
	if err := b.start(w); err != nil {
		return nil, err
	}
	lines, cursor := newLineWriter(p), runCursor{runs: p.Runs}
	f.reset()
	err := src.Events(ctx, p, func(seq uint64, row *catalogue.RowName, e *event.Event) error {
		if !cursor.next(seq) {
			return fmt.Errorf("%w: sequence number %d is not the next of %s", ErrSource, seq, p.Key)
		}
		if e.IsResponse() {
			b.out.rows++
		}
		b.out.lines++
		b.out.encodedBytes += uint64(e.Size())
		b.line = lines.appendLine(b.line, seq, row, e)
		f.add(seq, row, e)
		return b.flushFull(ctx)
	})
	out := b.out
	if err == nil {
		out, err = b.finish(ctx)
	}
	out.objectBytes = b.object.n
	if err != nil {
		return out, fmt.Errorf("write events of %s: %w", p.Key, err)
	}
	if out.rows != p.Rows || out.lines != p.Lines {
		return out, fmt.Errorf("%w: %d rows in %d lines instead of %d in %d for %s", ErrSource, out.rows, out.lines, p.Rows, p.Lines, p.Key)
	}
	return out, nil
}

// start begins an object.
func (b *objectWriter) start(w io.Writer) (err error) {
	b.line, b.out, b.raw, b.object = b.line[:0], &built{}, sha256.New(), countingHash{w: w, h: sha256.New()}
	if b.zip != nil {
		b.zip.Reset(&b.object)
		return nil
	}
	// The header has a zero time, no name and an unknown system, so the bytes depend only on the events.
	b.zip, err = gzip.NewWriterLevel(&b.object, gzipLevel)
	return err
}

// flushFull compresses the collected lines if they fill the buffer.
func (b *objectWriter) flushFull(ctx context.Context) error {
	if len(b.line) < flushBytes {
		return nil
	}
	return b.flush(ctx)
}

func (b *objectWriter) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.raw.Write(b.line) // a hash never fails
	b.out.rawBytes += uint64(len(b.line))
	_, err := b.zip.Write(b.line)
	b.line = b.line[:0]
	return err
}

// finish completes the object and describes it.
func (b *objectWriter) finish(ctx context.Context) (*built, error) {
	err := b.flush(ctx)
	if err == nil {
		err = b.zip.Close()
	}
	b.out.rawSHA256, b.out.objectSHA256, b.out.objectBytes = hexSum(b.raw), hexSum(b.object.h), b.object.n
	return b.out, err
}

// runCursor steps through the sequence numbers of a plan.
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

// countingHash hashes and counts the bytes that are written to w.
type countingHash struct {
	w io.Writer
	h hash.Hash
	n uint64
}

func (c *countingHash) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.h.Write(p[:n])
	c.n += uint64(n)
	return n, err
}
