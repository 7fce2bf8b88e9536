package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// AddCompletions makes the shell complete the values of flags: flagValues has the possible values by the name of the flag. File names are
// completed only for flags that take a file or a directory.
func AddCompletions(cmd *cobra.Command, flagValues map[string][]string) {
	for _, below := range cmd.Commands() {
		AddCompletions(below, flagValues)
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch values := flagValues[f.Name]; {
		case f.Name == "config":
			_ = cmd.MarkFlagFilename(f.Name, "yaml", "yml")
		case f.Name == "data" || f.Name == "into":
			_ = cmd.MarkFlagDirname(f.Name)
		case f.Name == "tls-cert" || f.Name == "tls-key":
			_ = cmd.MarkFlagFilename(f.Name)
		case values != nil && (f.Value.Type() == "string" || f.Value.Type() == "stringArray"):
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		default:
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
		}
	})
	if cmd.ValidArgsFunction == nil && cmd.ValidArgs == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// YAMLFiles completes an argument that is the name of a configuration file.
func YAMLFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}
