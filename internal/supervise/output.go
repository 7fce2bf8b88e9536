package supervise

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
)

// The Go runtime ends a crash with the stack of every goroutine: thousands of lines that bury the log, each time a full disk
// kills the books process. What the child writes is passed on line by line up to the first line of such a trace; from there
// on it is kept, as far as it fits, for a file, and the log gets one line.

const (
	// traceBytesMax bounds what is kept of a trace.
	traceBytesMax = 64 << 10
	// lineBytesMax bounds a line that is held until it is whole; a longer one is passed on in parts.
	lineBytesMax = 64 << 10
	// headBytesMax bounds what the log line shows of a trace.
	headBytesMax = 300
)

// traceBegins are how the runtime begins what it writes before it ends the process.
var traceBegins = [][]byte{
	[]byte("panic: "), []byte("fatal error: "), []byte("unexpected fault address "), []byte("runtime: "), []byte("SIGBUS: "),
	[]byte("SIGSEGV: "), []byte("SIGABRT: "), []byte("SIGQUIT: "), []byte("[signal "), []byte("goroutine "),
}

// output stands between a child and the log.
type output struct {
	to io.Writer

	mu      sync.Mutex
	line    []byte // not whole yet
	trace   []byte // from the first line of a trace on
	crashed bool
	cut     int // bytes of the trace that did not fit
}

// Write implements io.Writer. It never fails, so that the child is never held up by the log.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			o.line = append(o.line, rest...)
			if len(o.line) > lineBytesMax {
				o.pass()
			}
			break
		}
		o.line = append(o.line, rest[:end]...)
		rest = rest[end:]
		o.pass()
	}
	return len(p), nil
}

// pass hands on what is held, to the log or to the trace.
func (o *output) pass() {
	for _, begin := range traceBegins {
		o.crashed = o.crashed || bytes.HasPrefix(o.line, begin)
	}
	if o.crashed {
		n := min(len(o.line), traceBytesMax-len(o.trace))
		o.trace = append(o.trace, o.line[:n]...)
		o.cut += len(o.line) - n
	} else {
		_, _ = o.to.Write(o.line) // a log that cannot be written is nobody's fault here
	}
	o.line = o.line[:0]
}

// end passes on what is left and returns the trace: its first lines on one, all that was kept, and how much was not.
func (o *output) end() (head string, trace []byte, cut int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.line) > 0 {
		o.pass()
	}
	var lines []string
	for line := range strings.Lines(string(o.trace)) {
		if line = strings.TrimSpace(line); line == "" {
			break // the stacks follow
		}
		lines = append(lines, line)
	}
	head = strings.Join(lines, "; ")
	return head[:min(len(head), headBytesMax)], o.trace, o.cut
}

// reportCrash writes the trace of a child that crashed to CrashFile, over that of the one before, and one line to the log.
func (s *Supervisor) reportCrash(o *output) {
	head, trace, cut := o.end()
	if len(trace) == 0 {
		return
	}
	args := []any{"crash", head}
	if s.opt.CrashFile != "" {
		// A second name of another file must not be written to.
		_ = os.Remove(s.opt.CrashFile)
		if err := os.WriteFile(s.opt.CrashFile, trace, 0o640); err != nil { //nolint:gosec // like the other files of the data directory
			args = append(args, "trace_not_kept", err)
		} else {
			args = append(args, "trace", s.opt.CrashFile, "trace_bytes", len(trace), "trace_bytes_cut", cut)
		}
	}
	if s.opt.Cause != nil {
		if cause := s.opt.Cause(); cause != "" { // then the crash is no fault of the program
			s.opt.Logger.Error("books process ended: "+cause, args...)
			return
		}
	}
	s.opt.Logger.Error("books process crashed", args...)
}
