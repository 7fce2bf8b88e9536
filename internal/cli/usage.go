// Package cli is what all commands have in common on top of cobra: wrong usage is refused with an example of what would be right
// (usage.go), a mistyped command, flag or key is answered with the one that was probably meant (suggest.go), and the shell completes values
// (complete.go).
package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/timeparse"
)

// UsageError is a wrong flag or argument; Example shows what would be right.
type UsageError struct {
	Err     error
	Example string
}

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef is a [UsageError] with the command's own example.
func Usagef(cmd *cobra.Command, format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...), Example(cmd)}
}

// Example is the example of a command, or how to ask for its help.
func Example(cmd *cobra.Command) string {
	if cmd.Example != "" {
		return cmd.Example
	}
	return cmd.CommandPath() + " --help"
}

// NoArgs refuses arguments with an example.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usagef(cmd, "%s takes no argument, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// OneOf wants exactly one argument out of a list.
func OneOf(values ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			for _, v := range values {
				if args[0] == v {
					return nil
				}
			}
		}
		near := ""
		if len(args) == 1 {
			near = didYouMean(args[0], values, "")
		}
		return Usagef(cmd, "%s takes one of %q%s", cmd.CommandPath(), values, near)
	}
}

// BindOutput adds the flag --output, which is text or json.
func BindOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVar(output, "output", "text", "text or json")
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if *output != "text" && *output != "json" {
			return &UsageError{fmt.Errorf("--output %q: want text or json", *output), cmd.CommandPath() + " --output json"}
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}

// duration is a flag with the units of the configuration: 90s, 3d.
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

// DurationVar is pflag's, with those units.
func DurationVar(cmd *cobra.Command, into *time.Duration, name string, standard time.Duration, help string) {
	*into = standard
	cmd.Flags().Var(duration{into}, name, help)
}
