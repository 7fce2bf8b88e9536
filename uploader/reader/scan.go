package reader

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strconv"
	"strings"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

// Contents is what an object turned out to hold when it was read to its end.
type Contents struct {
	Bytes     uint64 // compressed
	SHA256    string // of the object, hex
	RawBytes  uint64 // of the NDJSON
	RawSHA256 string // of the NDJSON, hex
	Lines     uint64
	Rows      uint64 // responses
	Runs      []catalogue.Run
	Meta      map[string]string

	names map[uint64]struct{} // hashes of the rows of statistics
}

// readBytes is the size of the buffer for what is written.
const readBytes = 64 << 10

// Scan reads an event object to its end and describes it. fn, which may be nil, gets every line without its line feed; the slice
// is valid during the call. Sequence numbers must ascend, and every line must be what wayside writes into an object of this key.
// The error wraps [uploader.ErrDamaged] if the object is to blame.
func Scan(ctx context.Context, t uploader.Target, key string, fn func(line []byte) error) (*Contents, error) {
	return scanEvents(ctx, t, key, func(text []byte, _ *uploader.Line) error {
		if fn == nil {
			return nil
		}
		return fn(text)
	})
}

// scanEvents is Scan that also hands out what the line says; it is used again for the next.
func scanEvents(ctx context.Context, t uploader.Target, key string, fn func(text []byte, l *uploader.Line) error) (*Contents, error) {
	o, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	var line uploader.Line
	return scan(ctx, t, key, func(c *Contents, text []byte) error {
		if err := uploader.ParseLine(text, &line, o.Hour.Unix()/3600, o.Epoch); err != nil {
			return err
		}
		if e := line.Kind; e != "drop" {
			c.Rows++
			row := line.Row()
			if err := c.name(row.Host, row.Method, row.Label); err != nil {
				return err
			}
		}
		if err := c.number(line.Seq, &o); err != nil {
			return err
		}
		return fn(text, &line)
	})
}

// scanStatistics is Scan for the statistics object that belongs to an event object.
func scanStatistics(ctx context.Context, t uploader.Target, o *Object, fn func(stats.Key, *stats.Row) error) (*Contents, error) {
	return scan(ctx, t, uploader.StatsKey(o.Key), func(c *Contents, text []byte) error {
		key, row, err := uploader.ParseStatsOf(text, o.Hour.Unix()/3600, o.Epoch)
		if err == nil {
			err = c.name(key.Host, key.Method, key.Label)
		}
		if err != nil {
			return err
		}
		c.Rows += row.Count
		return fn(key, row)
	})
}

// scan reads an object to its end, line by line.
func scan(ctx context.Context, t uploader.Target, key string, line func(c *Contents, text []byte) error) (*Contents, error) {
	body, meta, err := t.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	c := &Contents{Meta: meta, names: map[uint64]struct{}{}}
	if err = uploader.CheckFormat(key, meta); err == nil {
		err = c.read(ctx, body, line)
		if err != nil {
			err = fmt.Errorf("read %s: %w", key, err)
		}
	}
	if cerr := body.Close(); err == nil {
		err = cerr
	}
	return c, err
}

func (c *Contents) read(ctx context.Context, body io.Reader, line func(c *Contents, text []byte) error) error {
	r, err := uploader.NewLineReader(body, c.Meta)
	if err != nil {
		return err
	}
	for {
		text, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		c.Lines, c.RawBytes = r.Lines, r.RawBytes
		if err := line(c, text); err != nil {
			return fmt.Errorf("line %d: %w", c.Lines, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	c.Bytes, c.SHA256, c.RawSHA256 = r.Sums()
	return nil
}

// asAnnounced reports with an error whether what was read is what the object's metadata say.
func (c *Contents) asAnnounced() error {
	if want := c.Meta[uploader.MetaRawSHA256]; c.RawSHA256 != want {
		return damagedf("its content has hash %s, its metadata says %.80q: see wayside archive verify", c.RawSHA256, want)
	}
	if want := c.Meta[uploader.MetaRows]; want != strconv.FormatUint(c.Rows, 10) {
		return damagedf("it adds up to %d responses, its metadata says %.40q: see wayside archive verify", c.Rows, want)
	}
	return nil
}

func damagedf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", uploader.ErrDamaged, fmt.Sprintf(format, args...))
}

// number notes a sequence number.
func (c *Contents) number(seq uint64, o *Object) error {
	n := len(c.Runs)
	switch {
	case seq < o.First || seq > o.Last:
		return damagedf("sequence number %d in an object of %d to %d", seq, o.First, o.Last)
	case n > 0 && c.Runs[n-1].Last+1 == seq:
		c.Runs[n-1].Last = seq
	case n > 0 && c.Runs[n-1].Last >= seq:
		return damagedf("sequence number %d after %d", seq, c.Runs[n-1].Last)
	case n == uploader.RunsReadMax:
		return damagedf("more than %d runs of sequence numbers", n)
	default:
		c.Runs = append(c.Runs, catalogue.Run{First: seq, Last: seq})
	}
	return nil
}

var nameSeed = maphash.MakeSeed()

// name notes the name of a row: what is counted under it is kept in memory by whoever adds up.
func (c *Contents) name(host, method, label string) error {
	var h maphash.Hash
	h.SetSeed(nameSeed)
	for _, part := range [...]string{host, "\x00", method, "\x00", label} {
		_, _ = h.WriteString(part) // never fails
	}
	c.names[h.Sum64()] = struct{}{}
	if len(c.names) > uploader.RowNamesMax {
		return damagedf("more than %d rows of statistics", uploader.RowNamesMax)
	}
	return nil
}

// skippable reports whether an error is the fault of one object, so that the others can still be read.
func skippable(err error) bool {
	return (errors.Is(err, uploader.ErrDamaged) || errors.Is(err, uploader.ErrNotFound)) &&
		!errors.Is(err, uploader.ErrNewerFormat) && !errors.Is(err, errChanged)
}

// trim takes from an error about an object what its name in front says already.
func trim(key string, err error) string {
	text := err.Error()
	for _, prefix := range []string{"read ", "look up "} {
		text = strings.TrimPrefix(text, prefix+key+": ")
	}
	return strings.TrimPrefix(text, key+": ")
}
