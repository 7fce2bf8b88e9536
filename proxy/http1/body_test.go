package http1

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// decoded is the result of decoding a body.
type decoded struct {
	data, trailers string
	taken          int
	ended          bool
	err            string
}

// decode passes the bytes of a body to a Body in pieces that end at the offsets in cuts. Bytes that the Body does not take are passed again
// together with the next piece, as from a connection's buffer.
func decode(framing BodyFraming, length int64, b []byte, cuts []int) (d decoded) {
	var body Body
	body.Reset(framing, length)
	var data []byte
	for _, end := range append(cuts, len(b)) {
		for !body.Ended() {
			taken, err := body.Frame(b[d.taken:end])
			d.taken += taken
			if err == nil {
				piece := b[d.taken:end][:min(int64(end-d.taken), body.Left())]
				if len(piece) > 0 {
					body.Took(len(piece))
				}
				data = append(data, piece...)
				d.taken += len(piece)
				taken += len(piece)
			}
			if err != nil {
				if !errors.Is(err, ErrBody) {
					panic(err)
				}
				d.err = err.Error()
				d.data = string(data)
				return d
			}
			if taken == 0 {
				break
			}
		}
	}
	if err := body.Close(); err != nil {
		d.err = err.Error()
	}
	d.data, d.trailers, d.ended = string(data), string(body.Trailers()), body.Ended()
	return d
}

func zeros(n int) string { return strings.Repeat("0", n) }

func TestBody(t *testing.T) {
	unexpected := io.ErrUnexpectedEOF.Error()
	for _, c := range []struct {
		framing BodyFraming
		length  int64
		in      string
		want    decoded
	}{
		{Fixed, 5, "hellomore", decoded{data: "hello", taken: 5, ended: true}},
		{Fixed, 0, "more", decoded{ended: true}},
		{Fixed, 5, "hel", decoded{data: "hel", taken: 3, err: unexpected}},
		{UntilClose, -1, "hello", decoded{data: "hello", taken: 5, ended: true}},
		{Chunks, 0, "3\r\nabc\r\n0\r\n\r\nrest", decoded{data: "abc", taken: 13, ended: true}},
		{Chunks, 0, "3;x=\"\\\"y\";z\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\nContent-Type: c\r\n\r\n", decoded{data: "abcd", trailers: "A: b\r\n", taken: 52, ended: true}},
		{Chunks, 0, "3\r\nab", decoded{data: "ab", taken: 5, err: unexpected}},
		{Chunks, 0, "3\r\nabcd\r\n", decoded{data: "abc", taken: 9, err: "malformed message body: chunk does not end where it should"}},
		{Chunks, 0, "3\nabc", decoded{err: "malformed message body: line without CRLF"}},
		{Chunks, 0, "x\r\n", decoded{taken: 3, err: "malformed message body: chunk size"}},
		{Chunks, 0, zeros(255) + "3\r\nabc\r\n" + zeros(256) + "\r\nContent-Digest: x\r\nContent-MD5: y\r\n\r\n", decoded{data: "abc", trailers: "Content-Digest: x\r\n", taken: 558, ended: true}},
		{Chunks, 0, zeros(256) + "3\r\nabc\r\n", decoded{err: "malformed message body: chunk size"}},
		{Chunks, 0, zeros(99) + "fffffffffffffff\r\nabc", decoded{data: "abc", err: unexpected}},
		{Chunks, 0, "1000000000000000\r\nabc", decoded{err: "malformed message body: chunk size"}},
		{Chunks, 0, "0\r\nHost: a\r\n\r\n", decoded{taken: 12, err: "malformed message body: framing in a trailer"}},
	} {
		if got := decode(c.framing, c.length, []byte(c.in), nil); got.data != c.want.data || got.trailers != c.want.trailers || got.err != c.want.err ||
			got.ended != c.want.ended || c.want.err == "" && got.taken != c.want.taken {
			t.Errorf("%q: %+v, want %+v", c.in, got, c.want)
		}
	}
}

// FuzzBodySplit: the result does not depend on the pieces in which a body's bytes arrive.
func FuzzBodySplit(f *testing.F) {
	for _, s := range []string{
		"3\r\nabc\r\n0\r\n\r\n", "3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\nrest", "3 ; x = \"\\\"y\";z\r\nabc\r\n00\r\nContent-Length: 3\r\n\r\n",
		"fffffffffffffff\r\nabc", "10000000000000003\r\nabc\r\n0\r\n\r\n", "1\r\na\r\n1\r\nb\r\n0\r\nX: y\r\nZ: a\r\n\r\n", "5\r\nabc\r\n", "0\r\n\n",
	} {
		for framing := range uint8(3) {
			f.Add([]byte(s), framing, uint64(1))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, framing uint8, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		how, length := BodyFraming(framing%3), int64(random.IntN(len(data)+2))
		want := decode(how, length, data, nil)
		var bytewise, cuts []int
		for i := range data {
			bytewise = append(bytewise, i)
			if random.IntN(4) == 0 {
				cuts = append(cuts, i)
			}
		}
		for _, c := range [][]int{bytewise, cuts} {
			if got := decode(how, length, data, c); got.data != want.data || got.trailers != want.trailers || got.err != want.err || got.ended != want.ended ||
				want.err == "" && got.taken != want.taken {
				t.Fatalf("%q in pieces that end at %v: %+v, as a whole %+v", data, c, got, want)
			}
		}
	})
}

// FuzzBlockEnd: the end of a header block is always found at its first empty line, whatever the pieces in which the block arrives.
func FuzzBlockEnd(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"), uint64(1))
	f.Add([]byte("\r\n\r\n"), uint64(1))
	f.Add([]byte("a\n\nb"), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		want, _ := BlockEnd(data, 0)
		random := rand.New(rand.NewPCG(seed, 0))
		got, at := 0, 0
		for n := 0; n <= len(data) && got == 0; n += 1 + random.IntN(3) {
			got, at = BlockEnd(data[:n], at)
		}
		if got == 0 {
			got, _ = BlockEnd(data, at)
		}
		if got != want {
			t.Fatalf("%q ends at %d in pieces, at %d as a whole", data, got, want)
		}
		if first := bytes.Index(data, []byte("\n\r\n")); first >= 0 && (want == 0 || want > first+3) {
			t.Fatalf("%q ends at %d, although there is an empty line at %d", data, want, first)
		}
	})
}
