package logsink

import (
	"io"
	"log/slog"
	"time"

	"github.com/wayside-proxy/wayside/internal/terminal"
)

// CloseWait is the maximum time that a process waits for the reader of its log before it exits.
const CloseWait = time.Second

// Open creates the log of a process that must never wait for the reader of its log. The level can be changed while the log is in use. The
// caller must close the Sink, with [CloseWait]. See [Logger] for level, format and process.
func Open(w io.Writer, level, format, process string) (*slog.Logger, *slog.LevelVar, *Sink) {
	var log *slog.Logger
	made := make(chan struct{})
	sink := New(w, func(lines uint64) {
		<-made
		log.Warn("lines of this log were lost because the log could not be written", "lines", lines)
	})
	log, now := logger(sink, level, Format(w, format), process)
	close(made)
	return log, now, sink
}

// Logger writes to w. level is debug, info, warn or error. format is text, json, or auto, which is text on a terminal and json elsewhere.
// Every line contains the name of the process, because two processes share one output.
func Logger(w io.Writer, level, format, process string) *slog.Logger {
	log, _ := logger(w, level, Format(w, format), process)
	return log
}

// Format returns text or json: the given format or, for auto, the format that suits w.
func Format(w io.Writer, format string) string {
	switch {
	case format != "auto":
		return format
	case terminal.Is(w):
		return "text"
	}
	return "json"
}

func logger(w io.Writer, level, format, process string) (*slog.Logger, *slog.LevelVar) {
	now := new(slog.LevelVar)
	_ = now.UnmarshalText([]byte(level)) // the level was validated with the configuration
	options := &slog.HandlerOptions{Level: now, ReplaceAttr: readableDurations}
	var handler slog.Handler = slog.NewJSONHandler(terminal.SafeJSON(w), options)
	if format == "text" {
		handler = slog.NewTextHandler(w, options)
	}
	return slog.New(handler).With("process", process), now
}

// readableDurations writes durations with a unit. The JSON handler would write them as a number of nanoseconds.
func readableDurations(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().Round(time.Microsecond).String())
	}
	return a
}
