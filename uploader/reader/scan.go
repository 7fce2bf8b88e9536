package reader

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/gzip"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/uploader"
)

// Contents is what an object turned out to hold when it was read to its end.
type Contents struct {
	Bytes     uint64 // compressed
	SHA256    string // of the object, hex
	RawBytes  uint64 // of the NDJSON
	RawSHA256 string // of the NDJSON, hex
	Lines     uint64
	Rows      uint64 // lines that are responses
	Runs      []catalogue.Run
	Meta      map[string]string

	numbered bool // lines carry sequence numbers
}

// readBytes is the size of the buffer between decompressing and cutting into lines.
const readBytes = 64 << 10

// Scan reads an object to its end and describes it. fn, which may be nil, gets every line without its line feed; the slice
// is valid during the call. Sequence numbers must ascend.
func Scan(ctx context.Context, t uploader.Target, key string, fn func(line []byte) error) (*Contents, error) {
	return scan(ctx, t, key, true, fn)
}

// scan is Scan for lines with and without sequence numbers.
func scan(ctx context.Context, t uploader.Target, key string, numbered bool, fn func(line []byte) error) (*Contents, error) {
	body, meta, err := t.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	c := &Contents{Meta: meta, numbered: numbered}
	if err := uploader.CheckFormat(key, meta); err != nil {
		return c, errors.Join(err, body.Close())
	}
	err = c.read(ctx, body, fn)
	if cerr := body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return c, fmt.Errorf("read %s: %w", key, err)
	}
	return c, nil
}

func (c *Contents) read(ctx context.Context, body io.Reader, fn func([]byte) error) error {
	object, raw := sha256.New(), sha256.New()
	counted := &countingReader{r: io.TeeReader(body, object)}
	zip, err := gzip.NewReader(counted)
	if err != nil {
		return err
	}
	lines := bufio.NewReaderSize(io.TeeReader(zip, raw), readBytes)
	var long []byte // a line that does not fit into the buffer
	for {
		line, err := nextLine(lines, &long)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = c.line(line)
		}
		if err == nil && fn != nil {
			err = fn(line[:len(line)-1])
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	// What follows the last gzip member, which there should not be, counts for the object's hash.
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return err
	}
	c.Bytes, c.SHA256, c.RawSHA256 = counted.n, hex.EncodeToString(object.Sum(nil)), hex.EncodeToString(raw.Sum(nil))
	return nil
}

// nextLine returns the next line with its line feed; io.EOF at the end, io.ErrUnexpectedEOF within a line.
func nextLine(r *bufio.Reader, long *[]byte) ([]byte, error) {
	*long = (*long)[:0]
	for {
		part, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			*long = append(*long, part...)
			continue
		case errors.Is(err, io.EOF) && len(part)+len(*long) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case len(*long) == 0:
			return part, nil
		}
		*long = append(*long, part...)
		return *long, nil
	}
}

// Marks of fields; they cannot stand inside a string, where quotation marks are escaped.
var (
	dropMark = []byte(`,"kind":"drop"`)
	seqMark  = []byte(`,"seq":`)
)

func (c *Contents) line(line []byte) error {
	c.Lines++
	c.RawBytes += uint64(len(line))
	if !bytes.Contains(line, dropMark) {
		c.Rows++
	}
	if !c.numbered {
		return nil
	}
	seq, err := seqOf(line)
	if err != nil {
		return fmt.Errorf("line %d: %w", c.Lines, err)
	}
	n := len(c.Runs)
	switch {
	case n > 0 && c.Runs[n-1].Last+1 == seq:
		c.Runs[n-1].Last = seq
	case n > 0 && c.Runs[n-1].Last >= seq:
		return fmt.Errorf("line %d: sequence number %d after %d", c.Lines, seq, c.Runs[n-1].Last)
	default:
		c.Runs = append(c.Runs, catalogue.Run{First: seq, Last: seq})
	}
	return nil
}

func seqOf(line []byte) (uint64, error) {
	at := bytes.LastIndex(line, seqMark)
	if at < 0 {
		return 0, errors.New("no sequence number")
	}
	digits := line[at+len(seqMark):]
	end := bytes.IndexAny(digits, ",}")
	if end < 0 {
		return 0, errors.New("no sequence number")
	}
	return strconv.ParseUint(string(digits[:end]), 10, 64)
}

// countingReader counts what is read through it.
type countingReader struct {
	r io.Reader
	n uint64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += uint64(n) //nolint:gosec // not negative
	return n, err
}
