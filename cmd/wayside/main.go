// Command wayside is a reverse proxy that records every response. README.md says what it does, and docs/ARCHITECTURE.md
// explains how. This package contains the commands: each reads its flags, makes one call, and prints the result. The
// processes themselves are in process/.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// Exit codes. They are documented and must never change.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitInUse   = 75 // EX_TEMPFAIL in sysexits.h
	exitConfig  = 78 // EX_CONFIG in sysexits.h
)

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
	var logged *books.LoggedError
	if !errors.As(err, &logged) {
		printError(stderr, err)
	}
	var usage *cli.UsageError
	var config *configs.Error
	var refused refusedConfig
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "example:", usage.Example)
		return exitUsage
	case errors.As(err, &config), errors.As(err, &refused), errors.Is(err, datadir.ErrUnsafe):
		return exitConfig
	case errors.Is(err, datadir.ErrInUse):
		return exitInUse
	}
	return exitFailure
}

// printError prints an error; joined errors get one line each. It escapes control characters, because external
// text, such as the name of an object, must not control the terminal.
func printError(w io.Writer, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
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
	showVersion := false
	root := &cobra.Command{
		Use:   "wayside",
		Short: "A reverse proxy that keeps the books",
		Long: "wayside forwards HTTP to one or more services and durably records the path, status and latency of every response.\n" +
			"Start with: wayside demo",
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.UnknownCommand(cmd, args[0])
			}
			if showVersion {
				return printVersion(cmd.OutOrStdout())
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs, Example: "wayside run --upstream http://127.0.0.1:8080",
	}
	root.Flags().BoolVar(&showVersion, "version", false, "print the version")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(cli.FlagError)
	root.AddCommand(
		newRun(), newCollect(), newDemo(), newJob(), newArchive(), newFleet(), newConfig(), newTop(), newTail(), newForget(), newMark(), newReport(),
		newDoctor(), newImport(), newBackup(), newHealth(), newReload(), newVerify(), newVersion(),
	)
	cli.AddHelp(root)
	cli.AddCompletions(root, flagValues)
	return root
}

// flagValues maps the names of flags, in all commands, to their possible values. Shell completion uses it.
var flagValues = map[string][]string{
	"output": {"text", "json"}, "log-level": {"debug", "info", "warn", "error"}, "log-format": {"auto", "json", "text"},
	"state": {"planned", "verified", "deleted"}, "window": terminal.WindowNames(),
	"origin": {string(reader.FromBest), string(reader.FromStatistics), string(reader.FromEvents)},
	"method": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, "status": {"2xx", "3xx", "4xx", "5xx", "4xx,5xx"},
	"archive": {"file:///", "s3://"}, "upstream": {"http://127.0.0.1:", "unix:///"}, "from": {"-1h", "-24h", "-7d"}, "to": {"now", "-1h"},
}

// interruptible returns a RunE whose context is canceled by Ctrl-C or SIGTERM.
func interruptible(run func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, cancel := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
		defer cancel()
		return run(ctx, cmd, args)
	}
}

// printResult prints the result of a command: v as JSON if output is "json", and otherwise the text that write writes.
func printResult(cmd *cobra.Command, output string, v any, write func(io.Writer) error) error {
	if output == "json" {
		return json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(v)
	}
	return write(cmd.OutOrStdout())
}

// logger returns the logger for work that a command does in its own process.
func logger(cmd *cobra.Command, cfg *configs.Config, part string) *slog.Logger {
	return logsink.Logger(cmd.ErrOrStderr(), cfg.Log.Level, cfg.Log.Format, part)
}
