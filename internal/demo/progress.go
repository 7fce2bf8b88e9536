package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/internal/terminal"
)

const (
	terminalEvery = 200 * time.Millisecond
	lineEvery     = 10 * time.Second
)

// progress shows how many responses have arrived: on a terminal in one line that is redrawn, otherwise on a new line at regular
// intervals.
type progress struct {
	out      io.Writer
	terminal bool
	requests uint64 // 0: no limit
	counters *load.Counters
	start    time.Time
	quit     chan struct{}
	done     sync.WaitGroup
}

// newProgress starts showing progress, until stop is called.
func newProgress(o *Options, counters *load.Counters) *progress {
	p := &progress{
		out: o.Out, terminal: terminal.Is(o.Out), requests: o.Requests, counters: counters,
		start: time.Now(), quit: make(chan struct{}),
	}
	if o.Output == "json" {
		return p
	}
	fmt.Fprintf(p.out, "Sending %s through %s; dashboard at %s\n", extent(o), o.ProxyURL, o.AdminURL)
	fmt.Fprintf(p.out, "In another terminal: wayside top --admin %s\n", strings.TrimSuffix(o.AdminURL, "/"))
	p.done.Go(p.run)
	return p
}

func (p *progress) stop() {
	close(p.quit)
	p.done.Wait()
}

func (p *progress) run() {
	every := lineEvery
	if p.terminal {
		every = terminalEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.draw()
		case <-p.quit:
			if p.terminal {
				fmt.Fprint(p.out, "\r\x1b[K")
			}
			return
		}
	}
}

func (p *progress) draw() {
	received := p.counters.Received.Load()
	line := fmt.Sprintf("  %s responses", grouped(received))
	if p.requests > 0 {
		line = fmt.Sprintf("  %s of %s responses", grouped(received), grouped(p.requests))
	}
	line += fmt.Sprintf(", %s/s", grouped(uint64(float64(received)/time.Since(p.start).Seconds())))
	if failed := p.counters.Failed.Load(); failed > 0 {
		line += fmt.Sprintf(", %s failed", grouped(failed))
	}
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.out, line)
}

func extent(o *Options) string {
	switch {
	case o.Requests > 0 && o.Duration > 0:
		return fmt.Sprintf("%s requests, for at most %v,", grouped(o.Requests), o.Duration)
	case o.Requests > 0:
		return grouped(o.Requests) + " requests"
	case o.Duration > 0:
		return fmt.Sprintf("requests for %v", o.Duration)
	default:
		return "requests until interrupted"
	}
}
