package uploader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// ErrNotVerified says that an object was written and reads back as something else. The plan stays open and the next run
// writes it again.
var ErrNotVerified = errors.New("archive object does not read back as written")

// verify reads the object back and compares everything that is known of it.
func (u *Uploader) verify(ctx context.Context, t Target, key string, want *built, meta map[string]string) error {
	ctx, s := u.attend(ctx)
	body, got, err := t.Get(ctx, key)
	if err != nil {
		return &stopError{s.end(err)}
	}
	found, err := digest(watchedReader{body, s}, want.rawBytes)
	if cerr := body.Close(); err == nil {
		err = cerr
	}
	err = s.end(err)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrNotVerified, key, err)
	case found.objectBytes != want.objectBytes || found.objectSHA256 != want.objectSHA256:
		return fmt.Errorf("%w: %s: %d bytes with hash %s, written were %d with %s",
			ErrNotVerified, key, found.objectBytes, found.objectSHA256, want.objectBytes, want.objectSHA256)
	case found.rawBytes != want.rawBytes || found.lines != want.lines:
		return fmt.Errorf("%w: %s: content is %d lines, %d bytes; written were %d, %d",
			ErrNotVerified, key, found.lines, found.rawBytes, want.lines, want.rawBytes)
	}
	if d := metaDiffers(meta, got); d != "" {
		return fmt.Errorf("%w: %s: metadata: %s", ErrNotVerified, key, d)
	}
	return nil
}

// digest reads a gzip object to its end, with at most rawMax bytes of content, and describes it; rows and the hash of the
// content stay unknown. Hashing the content again would prove nothing more: the object's own hash says that these are the
// bytes that were written, and gzip's checksum that they still unpack to what was packed. It would cost as much as all
// the rest of reading back.
func digest(r io.Reader, rawMax uint64) (*built, error) { return digestRaw(r, rawMax, io.Discard) }

// digestRaw is digest that also hands the content on.
func digestRaw(r io.Reader, rawMax uint64, raw io.Writer) (*built, error) {
	d := &built{}
	object := &countingHash{w: io.Discard, h: sha256.New()}
	tee := io.TeeReader(io.LimitReader(r, int64(min(rawMax, RawBytesMax)+overheadBytes)), object) //nolint:gosec // far below 2^63
	zip, err := gzip.NewReader(tee)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, flushBytes)
	for {
		n, err := zip.Read(buf)
		d.rawBytes += uint64(n)                               //nolint:gosec // not negative
		d.lines += uint64(bytes.Count(buf[:n], []byte{'\n'})) //nolint:gosec // not negative
		_, _ = raw.Write(buf[:n])                             // a hash, or nothing
		if d.rawBytes > rawMax {
			return nil, errors.New("content is longer than what was written")
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	// What follows the last gzip member, which there should not be, counts for the object's hash.
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return nil, err
	}
	d.objectBytes, d.objectSHA256 = object.n, hex.EncodeToString(object.h.Sum(nil))
	return d, nil
}
