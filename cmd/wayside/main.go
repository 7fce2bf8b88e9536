// Command wayside is a reverse proxy that keeps the books. See README.md for what it does and docs/ARCHITECTURE.md for
// how; this package holds the commands, their wiring, and the order in which things start and stop.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// Exit codes; part of the contract.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitInUse   = 75 // EX_TEMPFAIL of sysexits.h
	exitConfig  = 78 // EX_CONFIG of sysexits.h
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
	var refused *refusedConfig
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
				return cli.UnknownCommand(cmd, args[0])
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
	root.SetFlagErrorFunc(cli.FlagError)
	root.AddCommand(newRun(), newCollect(), newDemo(), newJob(), newArchive(), newConfig(), newTop(), newTail(), newForget(), newHealth(), newReload(), newVerify(), newVersion())
	cli.AddHelp(root)
	cli.AddCompletions(root, flagValues)
	return root
}

// flagValues are what flags of these names take, wherever they are.
var flagValues = map[string][]string{
	"output": {"text", "json"}, "log-level": {"debug", "info", "warn", "error"}, "log-format": {"auto", "json", "text"},
	"state": {"planned", "verified", "deleted"}, "window": terminal.WindowNames(),
	"origin": {string(reader.FromBest), string(reader.FromStatistics), string(reader.FromEvents)},
	"method": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, "status": {"2xx", "3xx", "4xx", "5xx", "4xx,5xx"},
	"archive": {"file:///", "s3://"}, "upstream": {"http://127.0.0.1:", "unix:///"}, "from": {"-1h", "-24h", "-7d"}, "to": {"now", "-1h"},
}

// interruptible is the context of a command, which ends with Ctrl-C or SIGTERM.
func interruptible(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
}
