package cli

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/query"
)

// UnknownCommand returns the error for an unknown command, with a suggestion.
func UnknownCommand(cmd *cobra.Command, name string) error {
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
	return Usagef(cmd, "unknown command %q for %s%s", name, cmd.CommandPath(), near)
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

// FlagError explains a flag that cannot be parsed. Most such flags are either mistyped or configuration keys that have no flag.
func FlagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return UnknownCommand(cmd, args[0]) // the command is mistyped, so its flags are not known
	}
	found := unknownFlag.FindStringSubmatch(err.Error())
	if found == nil {
		found = oneDash.FindStringSubmatch(err.Error())
	}
	if found == nil {
		return &UsageError{err, Example(cmd)}
	}
	name, _, _ := strings.Cut(found[1], "=")
	if f := cmd.Flags().Lookup(name); f != nil {
		return Usagef(cmd, "-%s: did you mean --%s, with two hyphens?", name, name)
	}
	if key, ok := keyNamed(name); ok && key.Flag != "" && cmd.Name() != "run" {
		return Usagef(cmd, "unknown flag: --%s: did you mean wayside run %s?", name, key.Flag)
	} else if ok {
		return Usagef(cmd, "unknown flag: --%s: %s is set in the configuration file, or by %s", name, key.Path, key.Env)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return Usagef(cmd, "%w%s", err, didYouMean(name, names, "--"))
}

// keyNamed finds the configuration key that a user has written as a flag: --archive.after or --archive-after.
func keyNamed(flag string) (configs.Key, bool) {
	plain := strings.NewReplacer("-", ".", "_", ".")
	for _, k := range configs.Keys() {
		if plain.Replace(k.Path) == plain.Replace(flag) {
			return k, true
		}
	}
	return configs.Key{}, false
}

// AddHelp adds the help and completion commands. Unlike cobra's own, they reject unknown arguments.
func AddHelp(root *cobra.Command) {
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
				return UnknownCommand(about, rest[0])
			}
		case "completion":
			cmd.Args = cobra.ArbitraryArgs
			cmd.Example = "wayside completion bash"
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return UnknownCommand(cmd, args[0])
				}
				return cmd.Help()
			}
		}
	}
}
