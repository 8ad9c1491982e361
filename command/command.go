// Package command is the command line: one file a command turns flags into the
// Config of the package that does the work and calls its Run. Answers are printed
// apart from asking: a printer knows no flags and no database.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"flowtally/spelling"
	"flowtally/store"

	"github.com/spf13/cobra"
)

// Main runs the program of this process, with its arguments, until it ends or a
// signal asks it to (an interrupt, a termination, or a terminal that is closed), and
// returns the exit status. The version is that of the
// build, empty where the build says none.
func Main(version string) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	// What stops this program stops who reads its log through a pipe, too, and perhaps
	// before: words to nobody are lost, and not the flows that are still to be sent or
	// stored. Children do not inherit this, as they would if the signal were ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return Run(ctx, version, os.Args[1:], answers{ctx, os.Stdout}, os.Stderr)
}

// answers is standard output. When whoever reads it has gone (head, less), the program
// ends by the signal, as others do, unless it is stopping already.
type answers struct {
	ctx context.Context
	out *os.File
}

// Write writes to standard output.
func (a answers) Write(p []byte) (n int, err error) {
	n, err = a.out.Write(p)
	if errors.Is(err, syscall.EPIPE) && a.ctx.Err() == nil {
		signal.Reset(syscall.SIGPIPE)
		return a.out.Write(p[n:])
	}
	return n, err
}

// usageError is a mistake in how the program was called: exit status 2. Every
// other error is 1.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Run runs the command that args name and returns the exit status: 0, 2 for a
// mistake in the arguments, 1 for every other error, which is printed on stderr.
func Run(ctx context.Context, version string, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(version, stdout, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := oneDash(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "flowtally: "+sentence(err))
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// oneDash refuses a long flag with one dash, as other programs have them: here that would
// be letters, and their value.
func oneDash(root *cobra.Command, args []string) error {
	cmd, rest, err := root.Find(args)
	if err != nil || len(args) > 0 && strings.HasPrefix(args[0], "__") {
		return nil
	}
	for _, arg := range rest {
		if arg == "--" {
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && len(name) > 1 && cmd.Flags().Lookup(name) != nil {
			return usageError{fmt.Errorf("%s: -%s is written with two dashes, --%s", cmd.Name(), name, name)}
		}
	}
	return nil
}

func rootCommand(version string, stdout, stderr io.Writer) *cobra.Command {
	var logLevel, logFormat, config string
	root := &cobra.Command{
		Use:   "flowtally",
		Short: "Turn mirrored packets into answers: who talks, how much, and how many flows",
		Long: `flowtally meters packets into NetFlow v5, v9 or IPFIX (exporter), stores what any
exporter sends in PostgreSQL (collector), and answers who talks, how much, and how
many flows: on a web page (web), on the command line (top, series) and in SQL.

"flowtally lab" runs all of it in one process with a private PostgreSQL.

Every flag can also be set by the environment variable FLOWTALLY_<COMMAND>_<FLAG>
or, under the command's name, in the YAML file given by --config.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySettings(cmd, os.LookupEnv); err != nil {
				return err
			}
			if err := setLogger(stderr, logLevel, logFormat); err != nil {
				return err
			}
			if strings.HasPrefix(cmd.Name(), cobra.ShellCompRequestCmd) {
				return nil // nobody reads it
			}
			warnOfVariables(cmd.Root(), os.Environ(), slog.Default())
			return nil
		},
	}
	set := root.PersistentFlags()
	one(set, &logLevel, "log-level", "", "info", among("debug, info, warn or error", "debug", "info", "warn", "error"), "least level to log: debug, info, warn or error")
	one(set, &logFormat, "log-format", "", "text", among("text or json", "text", "json"), "how to log: text or json")
	one(set, &config, "config", "", "", path("a YAML file"), "YAML file with a section for each command")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{flagSentence(cmd, err)} })
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(exporterCommand(stdout), collectorCommand(), exportersCommand(stdout), webCommand(), labCommand(stdout), migrateCommand(),
		topCommand(stdout), flowsCommand(stdout), eventsCommand(stdout), seriesCommand(stdout), inspectCommand(), rollupCommand(stdout),
		completionCommand(stdout), manCommand(), versionCommand(version, stdout))
	root.SetHelpCommand(helpCommand())
	var showVersion bool
	toggle(root.Flags(), &showVersion, "version", "v", false, "print the version")
	takeNoArguments(root)
	completeFlags(root)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return noCommand(root, args[0])
		}
		if showVersion {
			return printVersion(stdout, version)
		}
		return cmd.Help()
	}
	root.Args = cobra.ArbitraryArgs
	return root
}

// noCommand says that there is no such command.
func noCommand(root *cobra.Command, said string) error {
	return usageError{fmt.Errorf("there is no command %q%s (flowtally --help lists them)", said, spelling.Hint(said, commandNames(root)))}
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Print the help of a command",
		Args:  cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			of, _, _ := cmd.Root().Find(args)
			return commandNames(of), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			switch {
			case err != nil || of == cmd.Root() && len(rest) > 0:
				return noCommand(cmd.Root(), args[0])
			case len(rest) > 0:
				return noArguments(of, rest)
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// takeNoArguments has all commands below one refuse arguments, but those that say which
// they take.
func takeNoArguments(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
		takeNoArguments(c)
	}
}

// plainly has an error of the database in the log be one sentence.
func plainly(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		a.Value = slog.AnyValue(store.Plainly(err))
	}
	return a
}

// noArguments refuses what stands behind the flags.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	path := sectionName(cmd)
	if subs := commandNames(cmd); len(subs) > 0 && !strings.ContainsAny(args[0], "./:") {
		return usageError{fmt.Errorf("%s has no command %q%s (flowtally %s --help lists them)", path, args[0], spelling.Hint(args[0], subs), path)}
	}
	if _, err := switches.read(args[0]); err == nil {
		return usageError{fmt.Errorf("%s takes no argument %q: what is on or off takes its value behind an equals sign, as --NAME=%s", path, args[0], args[0])}
	}
	return usageError{fmt.Errorf("%s takes no argument %q (flowtally %s --help lists the flags)", path, args[0], path)}
}

func setLogger(w io.Writer, level, format string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return err
	}
	opts := &slog.HandlerOptions{Level: l, ReplaceAttr: plainly}
	if format == "json" {
		slog.SetDefault(slog.New(slog.NewJSONHandler(w, opts)))
	} else {
		slog.SetDefault(slog.New(slog.NewTextHandler(w, opts)))
	}
	return nil
}
