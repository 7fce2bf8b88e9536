// Package testlog collects logs for tests.
package testlog

import (
	"bytes"
	"strings"
	"sync"
)

// Buffer is a log that can be read while goroutines or processes write it. The zero value is ready for use.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

// Write appends to the log.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns the log so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Count returns the number of times that the log contains text.
func (b *Buffer) Count(text string) int { return strings.Count(b.String(), text) }
