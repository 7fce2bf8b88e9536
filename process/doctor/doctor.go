// Package doctor examines a machine and a configuration, before wayside is started or while it is running, and says what is wrong and
// what to do.
//
// doctor.go runs the checks. Each of the other files has the checks for one subject. The checks try the same actions as wayside:
// listening, connecting, writing, syncing, and archiving an object. They remove everything that they create.
package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin/client"
)

// State is the result of a check.
type State string

// The states of a check. Only Failed makes the command exit with 1.
const (
	OK      State = "ok"
	Warning State = "warning" // wayside works, but not as well as it could, or perhaps not for long
	Failed  State = "failed"  // wayside does not start, does not forward, or cannot keep the books
	Skipped State = "skipped" // the check does not apply, or could not be run; Found says why
)

// Finding is the result of a check.
type Finding struct {
	Check  string `json:"check"` // what was examined
	State  State  `json:"state"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"` // what to do; empty if there is nothing to do
}

// Options are the inputs of the checks.
type Options struct {
	// Config is a configuration that has passed its own checks.
	Config *configs.Config
	// Running is a client of the wayside that is using the data directory. It is nil if none is running.
	Running *client.Client
	// Version is the version of this binary.
	Version string
}

// networkTimeout limits a check that uses the network.
const networkTimeout = 10 * time.Second

type doctor struct {
	Options
	cfg      *configs.Config
	log      *slog.Logger // discards everything
	findings []Finding
}

// Examine runs all checks. It takes at most about half a minute, and returns earlier if ctx is done.
func Examine(ctx context.Context, o Options) []Finding {
	d := &doctor{Options: o, cfg: o.Config, log: slog.New(slog.DiscardHandler)}
	for _, w := range d.cfg.Warnings() {
		d.warn("configuration", "", "%s", w.Error())
	}
	d.running(ctx)
	d.addresses()
	d.upstreams(ctx)
	d.dataDir()
	d.disk()
	d.damage()
	d.archive(ctx)
	d.otlp(ctx)
	d.clock()
	d.limits()
	d.kernel()
	return d.findings
}

// Refused turns the errors in an invalid configuration into findings. No other check can be run with such a configuration.
func Refused(err error) (findings []Finding) {
	for _, err := range each(err) {
		findings = append(findings, Finding{"configuration", Failed, err.Error(), "correct it, then run wayside doctor again: the other checks need a valid configuration"})
	}
	return findings
}

// each splits a joined error into its parts.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // only if err itself is a list
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// AnyFailed reports whether a check has failed.
func AnyFailed(findings []Finding) bool {
	for _, f := range findings {
		if f.State == Failed {
			return true
		}
	}
	return false
}

func (d *doctor) ok(check, format string, args ...any) { d.add(check, OK, "", format, args...) }

func (d *doctor) warn(check, advice, format string, args ...any) {
	d.add(check, Warning, advice, format, args...)
}

func (d *doctor) fail(check, advice, format string, args ...any) {
	d.add(check, Failed, advice, format, args...)
}

func (d *doctor) skip(check, format string, args ...any) { d.add(check, Skipped, "", format, args...) }

func (d *doctor) add(check string, state State, advice, format string, args ...any) {
	d.findings = append(d.findings, Finding{check, state, fmt.Sprintf(format, args...), advice})
}
