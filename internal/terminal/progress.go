package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barCells  = 30
)

// Progress shows the progress of a long operation: with a bar on a terminal, and with a line every few seconds elsewhere. For an
// operation that ends quickly, it shows nothing. It updates itself continuously, so the user can see how long a server has not responded.
type Progress struct {
	out      io.Writer
	terminal bool
	began    time.Time
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu          sync.Mutex
	ended       bool
	done, total int
	what        string
	drawn       int // width of the text on the terminal
}

// NewProgress starts showing progress. what describes the first step. The caller must call [Progress.End].
func NewProgress(out io.Writer, what string) *Progress {
	p := &Progress{out: out, terminal: Is(out), began: time.Now(), stop: make(chan struct{}), what: what}
	every := lineEvery
	if p.terminal {
		every = barEvery
	}
	p.stopped.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.draw()
			}
		}
	})
	return p
}

// Step records that done of total steps are finished. what describes the current step.
func (p *Progress) Step(done, total int, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.total, p.what = done, total, Safe(what)
}

func (p *Progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf("%d of %d  %s", p.done, p.total, p.what)
	if p.total == 0 {
		text = p.what
	}
	text += fmt.Sprintf("  (%s)", time.Since(p.began).Round(time.Second))
	if !p.terminal {
		fmt.Fprintln(p.out, text)
		return
	}
	filled := barCells * p.done / max(p.total, 1)
	text = fmt.Sprintf("[%s%s] %s", strings.Repeat("=", filled), strings.Repeat(" ", barCells-filled), text)
	if len(text) > 118 {
		text = text[:118]
	}
	fmt.Fprintf(p.out, "\r%-*s", p.drawn, text)
	p.drawn = len(text)
}

// End stops the updates and clears the bar. Further calls do nothing.
func (p *Progress) End() {
	p.mu.Lock()
	again := p.ended
	p.ended = true
	p.mu.Unlock()
	if again {
		return
	}
	close(p.stop)
	p.stopped.Wait()
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\r%*s\r", p.drawn, "")
	}
}
