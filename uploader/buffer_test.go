package uploader

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/iotest"
)

// writeAgain fills a buffer with content that can be built again.
func writeAgain(t *testing.T, b *objectBuffer, content []byte) {
	t.Helper()
	b.reset()
	b.again = func(w io.Writer) error {
		for rest := content; len(rest) > 0; {
			n := min(len(rest), 100_003)
			if _, err := w.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}
	if err := b.again(b); err != nil {
		t.Fatal(err)
	}
}

// smallBuffer makes the buffers of a test a megabyte large. With larger ones, tests with the race detector take minutes.
func smallBuffer(t *testing.T) {
	t.Helper()
	former := bufferBytes
	bufferBytes = 1 << 20
	t.Cleanup(func() { bufferBytes = former })
}

func TestBufferReadsBackAtEverySize(t *testing.T) {
	smallBuffer(t)
	const part = 64 << 10
	content := make([]byte, bufferBytes+3*part+17)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(content)
	b := &objectBuffer{}
	defer b.release()
	for _, size := range []int{0, 1, part - 1, part, part + 1, 3*part + 5, bufferBytes - 1, bufferBytes, bufferBytes + 1, len(content)} {
		writeAgain(t, b, content[:size])
		r := b.reader()
		for _, from := range []int{0, 0, size / 3, size - size/2, size / 4} { // forwards and backwards
			if _, err := r.Seek(int64(from), io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, content[from:size]) {
				t.Fatalf("%d bytes from %d on read back as %d, %v", size, from, len(got), err)
			}
		}
		r.close()
	}
	writeAgain(t, b, content[:part+100])
	if err := iotest.TestReader(b.reader(), content[:part+100]); err != nil {
		t.Fatal(err)
	}
}

// TestBufferIsTrimmed: after trim, the buffer keeps the pages that were written since the last one. The others are
// given back, and are zero.
func TestBufferIsTrimmed(t *testing.T) {
	smallBuffer(t)
	page := os.Getpagesize()
	content := bytes.Repeat([]byte{0xff}, bufferBytes+page)
	b := &objectBuffer{}
	defer b.release()
	for _, c := range []struct{ written, kept int }{
		{3*page - 5, 3 * page}, {page, page}, {0, 0}, {5 * page, 5 * page}, {1, page}, {len(content), bufferBytes}, {bufferBytes - 1, bufferBytes}, {1, page},
	} {
		for _, size := range []int{c.written, c.written / 3} { // several objects of one run
			writeAgain(t, b, content[:size])
		}
		b.trim()
		if n := bytes.Count(b.memory, []byte{0xff}); n > c.kept || n < min(c.written, c.kept) {
			t.Errorf("of %d bytes, %d are still there, want at most %d", c.written, n, c.kept)
		}
		if b.size != 0 || b.again != nil {
			t.Errorf("the content of %d bytes is still known", c.written)
		}
	}
	writeAgain(t, b, content[:2*page])
	if got, err := io.ReadAll(b.reader()); err != nil || !bytes.Equal(got, content[:2*page]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestBufferReaderThatIsLeft: closing a reader stops the building, at any point. The reader returns the builder's
// error, and an error if the content is shorter than before.
func TestBufferReaderThatIsLeft(t *testing.T) {
	smallBuffer(t)
	content := make([]byte, bufferBytes+5)
	b := &objectBuffer{}
	defer b.release()
	writeAgain(t, b, content)
	r := b.reader()
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	r.close() // goleak would find a goroutine that is left behind
	broken := errors.New("broken")
	for _, c := range []struct{ end, want error }{{broken, broken}, {nil, io.ErrUnexpectedEOF}} {
		b.again = func(w io.Writer) error {
			if _, err := w.Write(content[:100]); err != nil {
				return err
			}
			return c.end
		}
		r = b.reader()
		if n, err := io.Copy(io.Discard, r); n != 100 || !errors.Is(err, c.want) {
			t.Errorf("%d bytes, %v", n, err)
		}
		r.close()
	}
}
