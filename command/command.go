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
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "flowtally: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
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
			return setLogger(stderr, logLevel, logFormat)
		},
	}
	root.PersistentFlags().StringVar(&logLevel, "log-level", "info", "least level to log: debug, info, warn or error")
	root.PersistentFlags().StringVar(&logFormat, "log-format", "text", "how to log: text or json")
	root.PersistentFlags().StringVar(&config, "config", "", "YAML file with a section for each command")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (flowtally %s --help lists the flags)", err, cmd.Name())}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(exporterCommand(stdout), collectorCommand(), exportersCommand(stdout), webCommand(), labCommand(stdout), migrateCommand(),
		topCommand(stdout), flowsCommand(stdout), eventsCommand(stdout), seriesCommand(stdout), inspectCommand(), rollupCommand(stdout), versionCommand(version, stdout))
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("there is no command %q (flowtally --help lists them)", args[0])}
		}
		return cmd.Help()
	}
	root.Args = cobra.ArbitraryArgs
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument %q (flowtally %s --help lists the flags)", cmd.Name(), args[0], cmd.Name())}
	}
	return nil
}

func setLogger(w io.Writer, level, format string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return usageError{fmt.Errorf("--log-level %q: want debug, info, warn or error", level)}
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		slog.SetDefault(slog.New(slog.NewTextHandler(w, opts)))
	case "json":
		slog.SetDefault(slog.New(slog.NewJSONHandler(w, opts)))
	default:
		return usageError{fmt.Errorf("--log-format %q: want text or json", format)}
	}
	return nil
}
