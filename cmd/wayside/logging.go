package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/terminal"
)

// logGrace is how long the end of a process waits for the reader of its log.
const logGrace = time.Second

// unheldLogger is leveledLogger for a process that must go on whatever becomes of its log's reader. The caller closes the Sink.
func unheldLogger(w io.Writer, cfg configs.Log, process string) (*slog.Logger, *slog.LevelVar, *logsink.Sink) {
	var log *slog.Logger
	made := make(chan struct{})
	sink := logsink.New(w, func(lines uint64) {
		<-made
		log.Warn("lines of this log were lost, because it could not be written", "lines", lines)
	})
	log, level := leveledLogger(sink, cfg, process)
	close(made)
	return log, level, sink
}

// newLogger is leveledLogger for those that never change the level.
func newLogger(w io.Writer, cfg configs.Log, process string) *slog.Logger {
	log, _ := leveledLogger(w, cfg, process)
	return log
}

// leveledLogger writes to w in the configured form; every line names the process, because two of them share one output.
// The level can be changed while it is in use.
func leveledLogger(w io.Writer, cfg configs.Log, process string) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	_ = level.UnmarshalText([]byte(cfg.Level)) // validated with the configuration
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readableDurations}
	var handler slog.Handler = slog.NewJSONHandler(terminal.SafeJSON(w), options)
	if cfg.Format == "text" || cfg.Format == "auto" && isTerminal(w) {
		handler = slog.NewTextHandler(w, options)
	}
	return slog.New(handler).With("process", process), level
}

// readableDurations writes durations with their unit in either form: JSON would have them as bare nanoseconds.
func readableDurations(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().Round(time.Microsecond).String())
	}
	return a
}

// outliveReaders keeps the process alive when the reader of its standard output or error leaves. By default Go's runtime ends it with
// SIGPIPE, which is right for commands that print something, and wrong for what serves traffic.
func outliveReaders() { signal.Ignore(syscall.SIGPIPE) }

// safeJSON is where JSON goes that may have come from strangers: on a terminal it must not be obeyed.
func safeJSON(w io.Writer) io.Writer {
	if isTerminal(w) {
		return terminal.SafeJSON(w)
	}
	return w
}

// isTerminal reports whether w is a character device, which is close enough to decide between two log formats.
func isTerminal(w io.Writer) bool {
	if sink, ok := w.(*logsink.Sink); ok {
		w = sink.To()
	}
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
