package weblog

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
)

// LineBytesMax is the maximum length of a line, without its line ending. nginx limits the request line and all fields to 32 KiB, and
// Caddy to 1 MiB; the part that they log is much shorter.
const LineBytesMax = 64 << 10

// ErrLong means that a line is longer than [LineBytesMax]. The line has been skipped, and the next call to [File.Next] returns the line
// after it.
var ErrLong = fmt.Errorf("the line is longer than %d bytes", LineBytesMax)

// File reads a log line by line. It must be closed.
type File struct {
	// Offset is the number of bytes, after decompression, up to the end of the last line returned; Line is the number of that line,
	// starting with 1.
	Offset int64
	Line   uint64
	// Unfinished is set at the end of the file if the last line has no line ending. That line is not returned, because it is still being
	// written.
	Unfinished bool

	file *os.File
	size int64
	in   *bufio.Reader
	sum  hash.Hash
}

// Open opens a log. A file that begins like a gzip file is decompressed, regardless of its name.
func Open(name string) (*File, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	f := &File{file: file, sum: sha256.New()}
	if info, err := file.Stat(); err == nil {
		if info.IsDir() {
			_ = file.Close()
			return nil, fmt.Errorf("read %s: it is a directory; name the log files in it", name)
		}
		f.size = info.Size()
	}
	raw := bufio.NewReaderSize(file, 1<<16)
	head, _ := raw.Peek(2)
	var src io.Reader = raw
	if bytes.Equal(head, []byte{0x1f, 0x8b}) {
		if src, err = gzip.NewReader(raw); err != nil {
			_ = file.Close()
			return nil, fmt.Errorf("decompress %s: %w", name, err)
		}
	}
	f.in = bufio.NewReaderSize(src, LineBytesMax+2) // with \r\n
	return f, nil
}

// Next returns the next line without its line ending; the slice is valid until the next call. The error is [io.EOF] after the last line,
// and [ErrLong] for a line that has been skipped.
func (f *File) Next() ([]byte, error) {
	line, err := f.in.ReadSlice('\n')
	long := false
	length := int64(0)
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		length += int64(len(line))
		f.sum.Write(line)
		line, err = f.in.ReadSlice('\n')
	}
	switch {
	case errors.Is(err, io.EOF):
		f.Unfinished = long || len(line) > 0
		return nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("decompress %s: the file ends too early; it may still be being written, or be damaged", f.file.Name())
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", f.file.Name(), err)
	}
	f.sum.Write(line)
	f.Offset += length + int64(len(line))
	f.Line++
	line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
	if long || len(line) > LineBytesMax {
		return nil, ErrLong
	}
	return line, nil
}

// SHA256 returns the checksum of everything up to Offset, in hexadecimal digits.
func (f *File) SHA256() string { return hex.EncodeToString(f.sum.Sum(nil)) }

// Read returns the number of bytes that have been read from the file, before decompression. Together with Size, it can be used to show
// progress.
func (f *File) Read() int64 {
	at, _ := f.file.Seek(0, io.SeekCurrent)
	return at
}

// Size returns the size of the file at the time when it was opened.
func (f *File) Size() int64 { return f.size }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }
