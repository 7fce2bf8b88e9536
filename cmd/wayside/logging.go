package main

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/wayside-proxy/wayside/configs"
)

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
	var handler slog.Handler = slog.NewJSONHandler(w, options)
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

// isTerminal reports whether w is a character device, which is close enough to decide between two log formats.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
