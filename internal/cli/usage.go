// Package cli extends cobra for all commands: after wrong usage, it shows a correct example (usage.go); after a mistyped command, flag or
// key, it suggests the most similar one (suggest.go); and it completes values in the shell (complete.go).
package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/timeparse"
)

// UsageError reports a wrong flag or argument. Example is a correct command line.
type UsageError struct {
	Err     error
	Example string
}

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a [UsageError] that contains the example of the command.
func Usagef(cmd *cobra.Command, format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...), Example(cmd)}
}

// Example returns the example of a command or, if there is none, the command line that shows the command's help.
func Example(cmd *cobra.Command) string {
	if cmd.Example != "" {
		return cmd.Example
	}
	return cmd.CommandPath() + " --help"
}

// NoArgs rejects all arguments.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usagef(cmd, "%s takes no argument, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// OneOf accepts exactly one argument, which must be in a list.
func OneOf(values ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		near := ""
		if len(args) == 1 {
			if slices.Contains(values, args[0]) {
				return nil
			}
			near = didYouMean(args[0], values, "")
		}
		return Usagef(cmd, "%s takes one argument: %s%s", cmd.CommandPath(), Or(values), near)
	}
}

// Or lists values in plain English: "a, b or c".
func Or(values []string) string {
	last := len(values) - 1
	if last < 1 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// BindOutput adds the flag --output, which is text or json.
func BindOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVar(output, "output", "text", "text or json")
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if *output != "text" && *output != "json" {
			return &UsageError{fmt.Errorf("--output %q: must be text or json", *output), cmd.CommandPath() + " --output json"}
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}

// duration is a flag value that accepts the units of the configuration, such as 90s and 3d.
type duration struct{ *time.Duration }

func (d duration) Type() string { return "duration" }

func (d duration) Set(text string) (err error) {
	if *d.Duration, err = timeparse.Duration(text); err != nil {
		return errors.New("write a number with a unit, such as 500ms, 30s, 15m or 3d")
	}
	if *d.Duration < 0 {
		return errors.New("must not be negative")
	}
	return nil
}

// DurationVar adds a flag that accepts the units of the configuration.
func DurationVar(cmd *cobra.Command, into *time.Duration, name string, standard time.Duration, help string) {
	*into = standard
	cmd.Flags().Var(duration{into}, name, help)
}
