// Package terminal shows wayside in a terminal: [Top] shows the hot paths on a screen that updates itself, and [Tail] shows events
// line by line as they are recorded.
//
// Both only query the admin listener of a running wayside, through [Asker]. Attackers choose paths and hosts. So everything that is not
// printable, in particular escape sequences, is shown as a dot ([Safe]) and never reaches the terminal.
package terminal

import (
	"context"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// Asker sends requests to the admin listener. The result of a request is the body of a 2xx response.
type Asker interface {
	Ask(ctx context.Context, path string) ([]byte, error)
}

// Safe makes text safe for a terminal: every rune that is not printable becomes a dot.
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

// showable reports whether a rune may be shown. It excludes combining marks, and characters that change the direction of writing, because
// they affect the look of neighboring characters.
func showable(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) && r != unicode.ReplacementChar
}

// fit truncates or pads text to exactly width cells.
func fit(text string, width int) string {
	if width <= 0 {
		return ""
	}
	text = ansi.Truncate(text, width, "…")
	return text + strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
}

// fitRight is like fit, but right-aligned.
func fitRight(text string, width int) string {
	text = ansi.Truncate(text, max(width, 0), "…")
	return strings.Repeat(" ", max(0, width-ansi.StringWidth(text))) + text
}
