package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barCells  = 30
)

// progress shows how far long work has come: a bar drawn over and over on a terminal, a line every few seconds elsewhere,
// nothing for work that is done sooner. Not for concurrent use.
type progress struct {
	out      io.Writer
	terminal bool
	every    time.Duration
	next     time.Time
	drawn    int // width of what stands on the terminal's line
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, every: lineEvery}
	if isTerminal(out) {
		p.terminal, p.every = true, barEvery
	}
	p.next = time.Now().Add(p.every)
	return p
}

// step says that done of total are done, and what is being worked on.
func (p *progress) step(done, total int, what string) {
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(p.every)
	text := fmt.Sprintf("%d of %d  %s", done, total, what)
	if !p.terminal {
		fmt.Fprintln(p.out, text)
		return
	}
	filled := barCells * done / max(total, 1)
	text = fmt.Sprintf("[%s%s] %s", strings.Repeat("=", filled), strings.Repeat(" ", barCells-filled), text)
	if len(text) > 118 {
		text = text[:118]
	}
	fmt.Fprintf(p.out, "\r%-*s", p.drawn, text)
	p.drawn = len(text)
}

// end clears the bar.
func (p *progress) end() {
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\r%*s\r", p.drawn, "")
		p.drawn = 0
	}
}
