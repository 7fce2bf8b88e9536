// Package terminal is wayside in a terminal: [Top], hot paths on a screen that is drawn anew by itself, and [Tail], events
// line by line as they are recorded.
//
// Both only ask the admin endpoint of a running wayside, through [Asker]. Paths and hosts are an attacker's text: whatever
// is not printable, escape sequences above all, is shown as a dot ([Safe]) and never reaches the terminal.
package terminal

import (
	"context"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// Asker asks the admin endpoint. The answer is the body of a 2xx response.
type Asker interface {
	Ask(ctx context.Context, path string) ([]byte, error)
}

// Safe is text as a terminal may show it: every rune that is not printable becomes a dot.
func Safe(text string) string {
	clean := true
	for _, r := range text {
		clean = clean && showable(r)
	}
	if clean {
		return text
	}
	return strings.Map(func(r rune) rune {
		if showable(r) {
			return r
		}
		return '·'
	}, text)
}

// showable leaves out marks that combine and signs that change the direction of writing: they would change what is shown of
// their neighbours.
func showable(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) && r != unicode.ReplacementChar
}

// fit cuts or pads text to exactly width cells.
func fit(text string, width int) string {
	if width <= 0 {
		return ""
	}
	text = ansi.Truncate(text, width, "…")
	return text + strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
}

// fitRight is fit with the text at the right.
func fitRight(text string, width int) string {
	text = ansi.Truncate(text, max(width, 0), "…")
	return strings.Repeat(" ", max(0, width-ansi.StringWidth(text))) + text
}
