package cli

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// commands returns a small command line that is built in the same way as wayside's.
func commands(every *time.Duration) *cobra.Command {
	nothing := func(*cobra.Command, []string) error { return nil }
	root := &cobra.Command{Use: "wayside", SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return UnknownCommand(cmd, args[0])
		}
		return nil
	}, Args: cobra.ArbitraryArgs}
	top := &cobra.Command{Use: "top", Example: "wayside top --data DIR", Args: NoArgs, RunE: nothing}
	var output string
	BindOutput(top, &output)
	DurationVar(top, every, "every", time.Second, "")
	job := &cobra.Command{Use: "job", Args: OneOf("archive", "clean"), RunE: nothing}
	root.AddCommand(top, job)
	root.SetFlagErrorFunc(FlagError)
	root.SetOut(io.Discard)
	AddHelp(root)
	return root
}

// TestWrongUsage: each mistake gives a [UsageError] that says what was probably meant.
func TestWrongUsage(t *testing.T) {
	for line, want := range map[string]string{
		"tpo":                     `unknown command "tpo" for wayside: did you mean top?`,
		"top --evry 1s":           "did you mean --every?",
		"top -every 1s":           "did you mean --every, with two hyphens?",
		"top --archive.after 1h":  "archive.after is set in the configuration file, or by WAYSIDE_ARCHIVE_AFTER",
		"top --upstream http://a": "did you mean wayside run --upstream?",
		"top --every 5":           "write a number with a unit",
		"top --every -5s":         "must not be negative",
		"top --output yaml":       `--output "yaml": must be text or json`,
		"top somewhere":           `wayside top takes no argument, got "somewhere"`,
		"job clear":               "did you mean clean?",
		"job":                     `wayside job takes one argument: archive or clean`,
		"help tpo":                "did you mean top?",
	} {
		var every time.Duration
		root := commands(&every)
		root.SetArgs(strings.Fields(line))
		err := root.Execute()
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) || usage.Example == "" {
			t.Errorf("wayside %s: %v, want %q", line, err, want)
		}
	}
}

func TestOr(t *testing.T) {
	for want, values := range map[string][]string{"": nil, "a": {"a"}, "a or b": {"a", "b"}, "a, b or c": {"a", "b", "c"}} {
		if got := Or(values); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestDurationFlag: a duration flag accepts the units of the configuration, and has a default.
func TestDurationFlag(t *testing.T) {
	for line, want := range map[string]time.Duration{"top": time.Second, "top --every 3d": 72 * time.Hour} {
		var every time.Duration
		root := commands(&every)
		root.SetArgs(strings.Fields(line))
		if err := root.Execute(); err != nil || every != want {
			t.Errorf("wayside %s: %v, %v", line, every, err)
		}
	}
}
