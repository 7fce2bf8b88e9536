package terminal

import (
	"fmt"
	"io"
	"os"
	"unicode/utf16"
	"unicode/utf8"
)

// SafeJSON returns a writer that makes JSON safe for a terminal: runes that [Safe] would replace are escaped, so a program still reads
// the same values. A rune is passed on when its last byte has been written.
func SafeJSON(to io.Writer) io.Writer { return &jsonWriter{to: to} }

// JSON returns the writer for JSON that may contain an attacker's text: SafeJSON(w) if w is a terminal, and otherwise w itself.
func JSON(w io.Writer) io.Writer {
	if Is(w) {
		return SafeJSON(w)
	}
	return w
}

// Is reports whether w is a terminal or another character device. If it is, a person probably reads the output; otherwise, a program
// does.
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
	rest []byte // the bytes written so far of an incomplete rune
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
		case r == '\r' || r == '\t': // allowed between values; inside a value, they are already escaped
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
