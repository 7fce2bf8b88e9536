// Command wayside is a reverse proxy that keeps the books. See README.md for what it does and docs/ARCHITECTURE.md for
// how; this package holds the commands, their wiring, and the order in which things start and stop.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/terminal"
)

// Exit codes; part of the contract.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitInUse   = 75 // EX_TEMPFAIL of sysexits.h
	exitConfig  = 78 // EX_CONFIG of sysexits.h
)

// usageError is a wrong flag or argument; Example shows what would be right.
type usageError struct {
	err     error
	example string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// loggedError is an error that was already logged.
type loggedError struct{ error }

func (e *loggedError) Unwrap() error { return e.error }

func main() {
	os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
}

// Main runs the command line and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	var logged *loggedError
	if !errors.As(err, &logged) {
		printError(stderr, err)
	}
	var usage *usageError
	var config *configs.Error
	var refused *refusedConfig
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "example:", usage.example)
		return exitUsage
	case errors.As(err, &config), errors.As(err, &refused), errors.Is(err, datadir.ErrUnsafe):
		return exitConfig
	case errors.Is(err, datadir.ErrInUse):
		return exitInUse
	}
	return exitFailure
}

// printError shows an error, those that are joined each on a line. What strangers have a hand in, such as the names of objects, is
// not obeyed by the terminal.
func printError(w io.Writer, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // only if it is nothing but a list
		lines := make([]string, 0, 2)
		for _, one := range joined.Unwrap() {
			lines = append(lines, one.Error())
		}
		if strings.Join(lines, "\n") == err.Error() {
			for _, one := range joined.Unwrap() {
				printError(w, one)
			}
			return
		}
	}
	fmt.Fprintln(w, "wayside:", terminal.Safe(err.Error()))
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	asked := false // for the version
	root := &cobra.Command{
		Use:   "wayside",
		Short: "A reverse proxy that keeps the books",
		Long: "wayside forwards HTTP to one application and durably accounts for every response: path, status, latency.\n" +
			"Start with: wayside demo",
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			if asked {
				return printVersion(cmd.OutOrStdout())
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs, Example: "wayside run --upstream http://127.0.0.1:8080",
	}
	root.Flags().BoolVar(&asked, "version", false, "print the version")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newRun(), newCollect(), newDemo(), newJob(), newArchive(), newConfig(), newTop(), newTail(), newForget(), newHealth(), newReload(), newVerify(), newVersion())
	addHelp(root)
	addCompletions(root)
	return root
}

func exampleOf(cmd *cobra.Command) string {
	if cmd.Example != "" {
		return cmd.Example
	}
	return cmd.CommandPath() + " --help"
}

// noArgs refuses arguments with an example.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0]), exampleOf(cmd)}
	}
	return nil
}

// oneOf wants exactly one argument out of a list.
func oneOf(values ...string) cobra.PositionalArgs {
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
		return &usageError{fmt.Errorf("%s takes one of %q%s", cmd.CommandPath(), values, near), exampleOf(cmd)}
	}
}
