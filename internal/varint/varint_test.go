package varint

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestReader(t *testing.T) {
	var record []byte
	numbers := []uint64{0, 1, 127, 128, 300, 1 << 20, 1<<63 - 1, math.MaxUint64}
	for _, n := range numbers {
		record = binary.AppendUvarint(record, n)
	}
	record = AppendText(record, "text")
	for cut := range len(record) + 1 {
		r := Reader{Rest: record[:cut]}
		for _, n := range numbers {
			if got := r.Uvarint(); !r.Bad && got != n {
				t.Errorf("%d was read as %d", n, got)
			}
		}
		if text := string(r.Text(4)); r.Done() != (cut == len(record)) || r.Done() && text != "text" {
			t.Errorf("%d of %d bytes: %q, %+v", cut, len(record), text, r)
		}
	}
}

// TestRefused: a longer encoding of a number, and lengths beyond the limit or the record, are errors.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		record []byte
		read   func(*Reader)
	}{
		{[]byte{0x81, 0x00}, func(r *Reader) { r.Uvarint() }},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, func(r *Reader) { r.Uvarint() }},
		{[]byte{5, 0}, func(r *Reader) { r.Length(4) }},
		{[]byte{5, 'a', 'b', 'c', 'd', 'e'}, func(r *Reader) { r.Text(4) }},
		{[]byte{3, 'a', 'b'}, func(r *Reader) { r.Text(4) }},
		{nil, func(r *Reader) { r.Text(4) }},
	} {
		r := Reader{Rest: c.record}
		if c.read(&r); !r.Bad || r.Done() {
			t.Errorf("%x was read", c.record)
		}
	}
}

// TestSignedAndBytes reads signed numbers, and bytes without a length.
func TestSignedAndBytes(t *testing.T) {
	var record []byte
	numbers := []int64{0, -1, 1, 63, -64, 64, math.MinInt64, math.MaxInt64}
	for _, n := range numbers {
		record = binary.AppendVarint(record, n)
	}
	record = append(record, "abc\x07"...)
	r := Reader{Rest: record}
	for _, n := range numbers {
		if got := r.Varint(); got != n {
			t.Errorf("%d was read as %d", n, got)
		}
	}
	if text, last := string(r.Bytes(3)), r.Byte(); text != "abc" || last != 7 || !r.Done() {
		t.Errorf("%q, %d, %+v", text, last, r)
	}
	if r.Byte() != 0 || !r.Bad {
		t.Error("a byte behind the end was read")
	}
}

func TestSize(t *testing.T) {
	for _, n := range []uint64{0, 1, 127, 128, 1<<14 - 1, 1 << 14, math.MaxUint64} {
		if got, want := Size(n), len(binary.AppendUvarint(nil, n)); got != want {
			t.Errorf("%d takes %d bytes, not %d", n, want, got)
		}
	}
}
