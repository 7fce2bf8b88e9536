package uploader

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"testing"
	"testing/iotest"
)

func TestBufferReadsBackAtEverySize(t *testing.T) {
	const part = 256 << 10
	content := make([]byte, spillBytes+3*part+17)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(content)
	b := &objectBuffer{dir: t.TempDir()}
	defer b.release()
	for _, size := range []int{0, 1, part - 1, part, part + 1, 3*part + 5, spillBytes - 1, spillBytes, spillBytes + 1, len(content)} {
		b.reset()
		for rest := content[:size]; len(rest) > 0; {
			n := min(len(rest), 100_003)
			if _, err := b.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		for range 2 {
			h := sha256.New()
			n, err := copyFromStart(h, b.reader())
			if err != nil || n != int64(size) || !bytes.Equal(h.Sum(nil), sum(content[:size])) {
				t.Fatalf("%d bytes read back as %d, %v", size, n, err)
			}
		}
	}
	small := content[:part+100]
	b.reset()
	if _, err := b.Write(small); err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(b.reader(), small); err != nil {
		t.Fatal(err)
	}
}

func TestBufferSpillsToAnUnlinkedFile(t *testing.T) {
	dir := t.TempDir()
	b := &objectBuffer{dir: dir}
	defer b.release()
	if _, err := b.Write(make([]byte, spillBytes+1)); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Fatalf("a crash now would leave %v", left)
	}
	b.reset()
	b.dir = dir + "/missing"
	if _, err := b.Write(make([]byte, spillBytes)); err != nil {
		t.Fatalf("an object that fits into memory needs no disk: %v", err)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Fatal("no error without a place to spill to")
	}
}

func sum(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:]
}
