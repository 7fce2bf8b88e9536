package terminal

import (
	"fmt"
	"io"
	"os"
	"unicode/utf16"
	"unicode/utf8"
)

// SafeJSON returns a writer for JSON that a terminal may show: what [Safe] would replace is written as an escape, which means the
// same to a program. Whole lines must be written for the last rune to come out.
func SafeJSON(to io.Writer) io.Writer { return &jsonWriter{to: to} }

// JSON is where JSON goes that may have come from strangers: to itself, but for a terminal, which must not obey it.
func JSON(w io.Writer) io.Writer {
	if Is(w) {
		return SafeJSON(w)
	}
	return w
}

// Is reports whether w is a character device, which is close enough to decide between output for people and for programs.
func Is(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

type jsonWriter struct {
	to   io.Writer
	rest []byte // of a rune whose end has not come
	out  []byte
}

func (w *jsonWriter) Write(p []byte) (int, error) {
	text := append(w.rest, p...)
	w.out = w.out[:0]
	for len(text) > 0 {
		if !utf8.FullRune(text) {
			break
		}
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n' || r != utf8.RuneError && showable(r):
			w.out = append(w.out, text[:size]...)
		case r == '\r' || r == '\t': // between values; inside of one they are escaped
			w.out = append(w.out, ' ')
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				w.out = fmt.Appendf(w.out, `\u%04x`, unit)
			}
		}
		text = text[size:]
	}
	w.rest = append(w.rest[:0:0], text...)
	if _, err := w.to.Write(w.out); err != nil {
		return 0, err
	}
	return len(p), nil
}
