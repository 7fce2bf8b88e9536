package logsink

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

const limit = time.Minute // only so that a failing test does not hang

// gate is a writer that hangs until it is opened. Then it accepts all writes, unless it is broken.
type gate struct {
	open chan struct{}

	mu     sync.Mutex
	broken bool
	text   strings.Builder
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken {
		return 0, errors.New("broken")
	}
	return g.text.Write(p)
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

// A reader that hangs blocks nobody. Once it continues, the queued lines are written in order, and the number of lost lines is reported.
func TestReaderThatHangs(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	var s *Sink
	s = New(g, func(n uint64) { _, _ = fmt.Fprintf(s, "lost %d\n", n) })
	line := strings.Repeat("x", 1022)
	const written = QueueBytes/1024 + 100
	for i := range written {
		if n, err := fmt.Fprintf(s, "%s%d\n", line, i%10); n != 1024 || err != nil {
			t.Fatal(n, err)
		}
	}
	if s.Lost() != 100 {
		t.Errorf("lost %d, want 100", s.Lost())
	}
	if s.Close(time.Millisecond); g.String() != "" {
		t.Error("written although it hangs")
	}
	close(g.open)
	<-s.done
	out := strings.Split(strings.TrimSpace(g.String()), "\n")
	if len(out) != QueueBytes/1024 {
		t.Errorf("%d lines", len(out))
	}
	for i, l := range out {
		if !strings.HasSuffix(l, fmt.Sprint(i%10)) {
			t.Fatalf("line %d: …%s", i, l[len(l)-3:])
		}
	}
}

// Lines that a reader rejects are counted, and their number is reported once a line is accepted again.
func TestReaderThatComesBack(t *testing.T) {
	g := &gate{open: make(chan struct{}), broken: true}
	close(g.open)
	var s *Sink
	s = New(g, func(n uint64) { _, _ = fmt.Fprintf(s, "lost %d\n", n) })
	_, _ = io.WriteString(s, "a\nb\n")
	_, _ = io.WriteString(s, "c\n")
	for deadline := time.Now().Add(limit); s.Lost() < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("lost", s.Lost())
		}
	}
	g.mu.Lock()
	g.broken = false
	g.mu.Unlock()
	_, _ = io.WriteString(s, "d\n")
	for deadline := time.Now().Add(limit); g.String() != "d\nlost 3\n"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q", g.String())
		}
	}
	_, _ = io.WriteString(s, "e\n")
	s.Close(limit)
	if g.String() != "d\nlost 3\ne\n" || s.Lost() != 3 {
		t.Errorf("%q, lost %d", g.String(), s.Lost())
	}
}
