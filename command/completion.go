package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"flowtally/filter"
	"flowtally/store"
	"flowtally/store/console"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func completionCommand(stdout io.Writer) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that completes commands, flags and filters in a shell",
		Long: `Print a script for a shell, which then completes commands, flags and their values:
keys, interfaces, times, and the words of a filter as far as one is written; also
the names of exporters, where DATABASE_URL says which database has them. In bash it
takes the package bash-completion.`,
		Example: `  flowtally completion bash > /etc/bash_completion.d/flowtally
  flowtally completion zsh > "${fpath[1]}/_flowtally"
  flowtally completion fish > ~/.config/fish/completions/flowtally.fish
  . <(flowtally completion bash)`,
		ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				for _, s := range shells {
					if s == args[0] {
						return nil
					}
				}
			}
			return usageError{fmt.Errorf("completion takes the name of a shell: bash, zsh or fish")}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "zsh":
				return root.GenZshCompletion(stdout)
			case "fish":
				return root.GenFishCompletion(stdout, true)
			default:
				return root.GenBashCompletionV2(stdout, true)
			}
		},
	}
}

// completeFlags has the shell complete the values of the flags of all commands from here on
// whose kinds have words.
func completeFlags(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		v, ok := f.Value.(interface{ suggest(string) []string })
		if !ok || f.Value.Type() == "file" {
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, func(_ *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
			directive := cobra.ShellCompDirectiveNoFileComp
			words := v.suggest(begin)
			if len(words) == 1 && strings.HasSuffix(words[0], "=") {
				directive |= cobra.ShellCompDirectiveNoSpace
			}
			return words, directive
		})
	})
	for _, c := range cmd.Commands() {
		completeFlags(c)
	}
}

// completeFilter completes the last word of a filter that is written word by word.
func completeFilter(complete func(text string, offset int) []filter.Completion) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(_ *cobra.Command, words []string, begin string) ([]string, cobra.ShellCompDirective) {
		text := strings.Join(append(words, begin), " ")
		at := len(text) - len(begin)
		var out []string
		for _, c := range complete(text, len(text)) {
			if c.Text == "" || c.Start < at || strings.ContainsAny(c.Text, "()[]") {
				continue // a value that only the data has, and what a shell takes for its own
			}
			word := text[at:c.Start] + c.Text
			if c.Detail != "" {
				word += "\t" + c.Detail
			}
			out = append(out, word)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// exporterNames are what exporters are called.
var exporterNames = kind[string]{
	name: "exporter", wants: "the name, the address or the id of an exporter",
	read: anyText("", "").read,
	words: func(string) (names []string) {
		// Whoever completes does not wait: without an answer there are no words.
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		dsn := os.Getenv("DATABASE_URL")
		if dsn == "" {
			return nil
		}
		db, err := store.Open(ctx, dsn)
		if err != nil {
			return nil
		}
		defer db.Close()
		list, err := console.New(db).Exporters(ctx)
		if err != nil {
			return nil
		}
		for _, e := range list {
			names = append(names, e.Label)
		}
		return names
	},
}
