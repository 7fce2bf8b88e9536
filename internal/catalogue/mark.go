package catalogue

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kinds of marks.
const (
	MarkNote   = "mark"   // made by a person or a script
	MarkStart  = "start"  // a traffic process started
	MarkReload = "reload" // the configuration was reloaded
	MarkStop   = "stop"   // a traffic process stopped or was killed
)

// MarkKinds lists the kinds of marks.
var MarkKinds = []string{MarkNote, MarkStart, MarkReload, MarkStop}

// Mark is a named point in time, such as a deploy.
type Mark struct {
	Time time.Time `json:"time"` // with microsecond precision
	Kind string    `json:"kind"`
	Text string    `json:"text"`
}

// MarkTextBytesMax is the maximum length of a mark's text.
const MarkTextBytesMax = 200

// CheckMarkText returns the text of a mark without surrounding spaces. It rejects an empty text, more than
// [MarkTextBytesMax] bytes, and unprintable characters such as line breaks.
func CheckMarkText(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", errors.New("a mark needs a text, such as the version that was deployed")
	case len(text) > MarkTextBytesMax:
		return "", fmt.Errorf("the text of a mark may have at most %d bytes, but this one has %d", MarkTextBytesMax, len(text))
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", errors.New("the text of a mark must be one line of printable characters")
	}
	return text, nil
}
