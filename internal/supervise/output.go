package supervise

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
)

// When a Go program crashes, the runtime prints the stack of every goroutine. If the books process died because of a full disk, that
// would be thousands of lines each time. Therefore the child's output is passed on line by line only up to the first line of such a
// trace. The trace goes to a file, up to a limit, and the log gets one line.

const (
	traceBytesMax = 64 << 10 // maximum length of a trace in the file
	lineBytesMax  = 64 << 10 // maximum length of a line that is kept until it is complete; a longer line is passed on in pieces
	headBytesMax  = 300      // maximum length of a trace in the log line
)

// traceBegins are the first words that the runtime may print before it ends the process.
var traceBegins = [][]byte{
	[]byte("panic: "), []byte("fatal error: "), []byte("unexpected fault address "), []byte("runtime: "), []byte("SIGBUS: "),
	[]byte("SIGSEGV: "), []byte("SIGABRT: "), []byte("SIGQUIT: "), []byte("[signal "), []byte("goroutine "),
}

// output is the writer between a child and the log.
type output struct {
	to io.Writer

	mu      sync.Mutex
	line    []byte // the current line, not complete yet
	trace   []byte // the trace, starting with its first line
	crashed bool
	cut     int // number of bytes of the trace that did not fit
}

// Write implements io.Writer. It never fails: a log that cannot be written must not stop the child.
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

// pass appends the current line to the log or to the trace.
func (o *output) pass() {
	for _, begin := range traceBegins {
		o.crashed = o.crashed || bytes.HasPrefix(o.line, begin)
	}
	if o.crashed {
		n := min(len(o.line), traceBytesMax-len(o.trace))
		o.trace = append(o.trace, o.line[:n]...)
		o.cut += len(o.line) - n
	} else {
		_, _ = o.to.Write(o.line)
	}
	o.line = o.line[:0]
}

// end passes on the last line and describes the trace: it returns the first lines joined into one, the part that was kept, and the number
// of bytes for which there was no room.
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

// reportCrash writes the trace of a child that has crashed to CrashFile, which replaces any older trace, and adds one line to the log.
func (s *Supervisor) reportCrash(o *output) {
	head, trace, cut := o.end()
	if len(trace) == 0 {
		return
	}
	args := []any{"crash", head}
	if s.opt.CrashFile != "" {
		_ = os.Remove(s.opt.CrashFile)                                      // it may be a second name of another file, which must not change
		if err := os.WriteFile(s.opt.CrashFile, trace, 0o640); err != nil { //nolint:gosec // like the other files of the data directory
			args = append(args, "trace_not_kept", err)
		} else {
			args = append(args, "trace", s.opt.CrashFile, "trace_bytes", len(trace), "trace_bytes_cut", cut)
		}
	}
	if s.opt.CrashCause != nil {
		if cause := s.opt.CrashCause(); cause != "" {
			s.opt.Logger.Error("books process ended: "+cause, args...)
			return
		}
	}
	s.opt.Logger.Error("books process crashed", args...)
}
