package terminal

import (
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// helpText is shown by "?". It lists the keys of the functions below.
var helpText = []string{
	"↑ ↓ j k      move            enter   open the path", "g G          first, last     esc     back, or clear the filter",
	"s S  ← →     next, previous column to sort by", "r            reverse the order",
	"/            filter by part of path, host or method", "w            window: 1h, 24h, 7d, 30d",
	"space        pause           q       quit", "", "NOW: responses per second over the last ten seconds",
}

func (m *model) key(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	if m.typing {
		m.typed(k)
		return m, nil
	}
	switch k.String() {
	case "q", "ctrl+c":
		return m, tea.Quit
	case "?":
		m.help = !m.help
	case "space", " ":
		m.paused = !m.paused
	case "w":
		m.window = (m.window + 1) % len(windows)
		return m, m.load()
	case "esc", "backspace":
		m.back()
	case "enter":
		if !m.inside && len(m.rows) > 0 {
			m.choose(m.at)
			m.inside, m.detail = true, nil
			return m, m.load()
		}
	default:
		if !m.inside {
			m.move(k.String())
		}
	}
	return m, nil
}

func (m *model) back() {
	switch {
	case m.help:
		m.help = false
	case m.inside:
		m.inside, m.detail = false, nil
	default:
		m.filter = ""
		m.arrange()
	}
}

// move handles the keys of the table.
func (m *model) move(key string) {
	page := max(1, m.height-8)
	switch key {
	case "down", "j":
		m.choose(m.at + 1)
	case "up", "k":
		m.choose(m.at - 1)
	case "pgdown", "ctrl+f":
		m.choose(m.at + page)
	case "pgup", "ctrl+b":
		m.choose(m.at - page)
	case "g", "home":
		m.choose(0)
	case "G", "end":
		m.choose(len(m.rows) - 1)
	case "s", "right":
		m.order(1)
	case "S", "left":
		m.order(len(columns) - 1)
	case "r":
		m.rising = !m.rising
	case "/":
		m.typing = true
	}
	m.arrange()
}

// order sorts by another of the shown columns: the given number of steps to the right.
func (m *model) order(steps int) {
	for range columns {
		if m.sort = (m.sort + steps) % len(columns); m.width >= narrow || !tableColumns[m.sort].wide {
			break
		}
	}
	m.rising = false
}

// typed handles a key while the filter is being edited.
func (m *model) typed(k tea.KeyPressMsg) {
	switch k.String() {
	case "enter":
		m.typing = false
	case "esc", "ctrl+c":
		m.typing, m.filter = false, ""
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-n]
	case "ctrl+u":
		m.filter = ""
	default:
		if k.Text != "" {
			m.filter += strings.Map(func(r rune) rune {
				if showable(r) {
					return r
				}
				return -1
			}, k.Text)
		}
	}
	m.arrange()
}
