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
	zip  *gzip.Writer
	line []byte
	fold fold // of the events built last
}

func newBuilder(tempDir string) *builder {
	return &builder{body: &objectBuffer{dir: tempDir}, line: make([]byte, 0, flushBytes+2*event.SizeMax)}
}

// build writes the plan's object into b.body. It fails with ErrSource when the events are not exactly those planned.
func (b *builder) build(ctx context.Context, src Source, p *catalogue.Plan) (*built, error) {
	if p.FormatVersion != FormatVersion {
		return nil, fmt.Errorf("plan %d asks for object format %d, this version writes %d", p.ID, p.FormatVersion, FormatVersion)
	}
	b.body.reset()
	out, raw := &built{}, sha256.New()
	object := &countingHash{w: b.body, h: sha256.New()}
	if err := b.start(object); err != nil {
		return nil, err
	}
	lines, cursor := newLineWriter(p), runCursor{runs: p.Runs}
	b.line = b.line[:0]
	b.fold.reset()
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
		b.fold.add(row, e)
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
	if err != nil {
		return nil, fmt.Errorf("write events of %s: %w", p.Key, err)
	}
	if out.rows != p.Rows || out.lines != p.Lines {
		return nil, fmt.Errorf("%w: %d rows in %d lines instead of %d in %d for %s", ErrSource, out.rows, out.lines, p.Rows, p.Lines, p.Key)
	}
	out.rawSHA256 = hex.EncodeToString(raw.Sum(nil))
	out.objectBytes, out.objectSHA256 = object.n, hex.EncodeToString(object.h.Sum(nil))
	return out, nil
}

func (b *builder) start(w io.Writer) error {
	if b.zip != nil {
		b.zip.Reset(w)
		return nil
	}
	// The header keeps its zero time, no name and an unknown system: the bytes depend on the events alone.
	zip, err := gzip.NewWriterLevel(w, gzipLevel)
	b.zip = zip
	return err
}

func (b *builder) flush(ctx context.Context, out *built, raw hash.Hash) error {
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
