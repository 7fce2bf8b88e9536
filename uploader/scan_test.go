package uploader

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
)

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzipLevel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestUnpackerReadsWholeObjectsOnly: an object that is truncated, changed, too long or unreadable is rejected, and the
// next one is read as if it were the first.
func TestUnpackerReadsWholeObjectsOnly(t *testing.T) {
	content := []byte(strings.Repeat("a line that is repeated, and a number\n", 10_000))
	object := gzipped(t, content)
	sum := sha256.Sum256(object)
	boom := errors.New("boom")
	changed := slices.Clone(object)
	changed[len(changed)-6] ^= 1 // a bit of the checksum
	type attempt struct {
		body io.Reader
		max  int
		want error
	}
	cases := map[string]attempt{
		"changed":        {bytes.NewReader(changed), len(content), ErrDamaged},
		"longer":         {io.MultiReader(bytes.NewReader(object), strings.NewReader("x")), len(content), ErrDamaged},
		"twice":          {bytes.NewReader(slices.Concat(object, object)), len(content), ErrDamaged},
		"more than said": {bytes.NewReader(object), len(content) - 1, ErrDamaged},
		"not gzip":       {bytes.NewReader(content), len(content), ErrDamaged},
		"unreadable":     {io.MultiReader(bytes.NewReader(object[:100]), iotest.ErrReader(boom)), len(content), boom},
	}
	for _, n := range []int{0, 1, 5, 10, 11, 100, len(object) - 8, len(object) - 1} {
		cases[fmt.Sprintf("cut at %d", n)] = attempt{bytes.NewReader(object[:n]), len(content), ErrDamaged}
	}
	var u unpacker
	for name, c := range cases {
		if found, err := u.digest(c.body, uint64(c.max)); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, found, err, c.want)
		}
		found, err := u.digest(iotest.HalfReader(bytes.NewReader(object)), uint64(len(content)))
		if err != nil || found.rawBytes != uint64(len(content)) || found.objectBytes != uint64(len(object)) || found.objectSHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("after %s: %+v, %v", name, found, err)
		}
	}
}
