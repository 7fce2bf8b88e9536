package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/moment"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// unknownCommand says which command may have been meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	near := didYouMean(name, names, "")
	if near == "" {
		near = ": " + cmd.CommandPath() + " --help lists them"
	}
	return &usageError{fmt.Errorf("unknown command %q for %s%s", name, cmd.CommandPath(), near), exampleOf(cmd)}
}

func didYouMean(name string, candidates []string, prefix string) string {
	if near := query.Nearest(name, candidates); near != "" {
		return ": did you mean " + prefix + near + "?"
	}
	return ""
}

var (
	unknownFlag = regexp.MustCompile(`^unknown flag: --(.+)$`)
	oneDash     = regexp.MustCompile(`^unknown shorthand flag: .* in -(.+)$`)
)

// flagError explains a flag that cannot be read: mostly it is mistyped, or a key of the configuration that has no flag.
func flagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return unknownCommand(cmd, args[0]) // whose flags are not known here
	}
	found := unknownFlag.FindStringSubmatch(err.Error())
	if found == nil {
		found = oneDash.FindStringSubmatch(err.Error())
	}
	if found == nil {
		return &usageError{err, exampleOf(cmd)}
	}
	name, _, _ := strings.Cut(found[1], "=")
	if f := cmd.Flags().Lookup(name); f != nil {
		return &usageError{fmt.Errorf("-%s: did you mean --%s, with two hyphens?", name, name), exampleOf(cmd)}
	}
	if key, ok := keyNamed(name); ok {
		return &usageError{fmt.Errorf("unknown flag: --%s: %s is set in the configuration file, or by %s", name, key.Path, key.Env), exampleOf(cmd)}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return &usageError{fmt.Errorf("%w%s", err, didYouMean(name, names, "--")), exampleOf(cmd)}
}

// keyNamed finds the key of which somebody has made a flag: --archive.after, --archive-after.
func keyNamed(flag string) (configs.Key, bool) {
	plain := strings.NewReplacer("-", ".", "_", ".")
	for _, k := range configs.Keys() {
		if plain.Replace(k.Path) == plain.Replace(flag) {
			return k, true
		}
	}
	return configs.Key{}, false
}

// checkPath refuses what no path and no template is: all begin with a slash, but for * and what stands for others.
func checkPath(cmd *cobra.Command, path string) error {
	if path == "" || strings.HasPrefix(path, "/") || strings.HasPrefix(path, "(") || path == "*" {
		return nil
	}
	return &usageError{fmt.Errorf("--path %q: paths begin with /", path), exampleOf(cmd)}
}

// addHelp makes the help and completion commands, and has them refuse what is not there, which cobra's answer as if nothing was asked.
func addHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.RunE = func(_ *cobra.Command, args []string) error {
				about, rest, err := root.Find(args)
				if err == nil && len(rest) == 0 {
					return about.Help()
				}
				if about == nil || err != nil {
					about, rest = root, args
				}
				return unknownCommand(about, rest[0])
			}
		case "completion":
			cmd.Args = cobra.ArbitraryArgs
			cmd.Example = "wayside completion bash"
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return unknownCommand(cmd, args[0])
				}
				return cmd.Help()
			}
		}
	}
}

// flagValues are what flags of these names take, wherever they are.
var flagValues = map[string][]string{
	"output": {"text", "json"}, "log-level": {"debug", "info", "warn", "error"}, "log-format": {"auto", "json", "text"},
	"state": {"planned", "verified", "deleted"}, "window": terminal.WindowNames(),
	"origin": {string(reader.FromBest), string(reader.FromStatistics), string(reader.FromEvents)},
	"method": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, "status": {"2xx", "3xx", "4xx", "5xx", "4xx,5xx"},
	"archive": {"file:///", "s3://"}, "upstream": {"http://127.0.0.1:", "unix:///"}, "from": {"-1h", "-24h", "-7d"}, "to": {"now", "-1h"},
}

// addCompletions has the shell complete values, and files only where a file is meant.
func addCompletions(cmd *cobra.Command) {
	for _, below := range cmd.Commands() {
		addCompletions(below)
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch values := flagValues[f.Name]; {
		case f.Name == "config":
			_ = cmd.MarkFlagFilename(f.Name, "yaml", "yml")
		case f.Name == "data" || f.Name == "into":
			_ = cmd.MarkFlagDirname(f.Name)
		case values != nil && f.Value.Type() == "string":
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		default:
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
		}
	})
	if cmd.ValidArgsFunction == nil && cmd.ValidArgs == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// yamlFiles completes an argument that names a configuration file.
func yamlFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// duration is a flag with the units of the configuration: 90s, 3d.
type duration struct{ *time.Duration }

func (d duration) Type() string { return "duration" }

func (d duration) Set(text string) (err error) {
	if *d.Duration, err = moment.Duration(text); err != nil {
		return errors.New("write a number with a unit, such as 500ms, 30s, 15m or 3d")
	}
	if *d.Duration < 0 {
		return errors.New("must not be negative")
	}
	return nil
}

// durationVar is pflag's, with those units.
func durationVar(cmd *cobra.Command, into *time.Duration, name string, standard time.Duration, help string) {
	*into = standard
	cmd.Flags().Var(duration{into}, name, help)
}
