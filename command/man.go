package command

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIRECTORY",
		Short:   "Write the manual pages, one a command",
		Long:    "Write the manual pages of section 1 to a directory, one a command, as --help says it.",
		Example: `  flowtally man /usr/local/share/man/man1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("man takes the directory to write the pages to")}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			pages := documented(cmd.Root())
			for _, c := range pages {
				name := filepath.Join(args[0], pageName(c)+".1")
				if err := os.WriteFile(name, manPage(c), 0o644); err != nil {
					return fmt.Errorf("man: %w", err)
				}
			}
			slog.Info("manual pages written", "directory", args[0], "pages", len(pages))
			return nil
		},
	}
}

// documented are the commands that have a page: all that people call.
func documented(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if !c.Hidden && c.Name() != "help" {
			all = append(all, documented(c)...)
		}
	}
	return all
}

// pageName is what the page of a command is called.
func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is the page of a command, in mdoc(7), which mandoc and groff both read.
func manPage(cmd *cobra.Command) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(".Dd %s", written().Format("January 2, 2006"))
	line(".Dt %s 1", strings.ToUpper(pageName(cmd)))
	line(".Os flowtally")
	line(".Sh NAME\n.Nm %s", pageName(cmd))
	line(".Nd %s", roff(lower(cmd.Short)))
	line(".Sh SYNOPSIS")
	use := cmd.UseLine()
	if cmd == cmd.Root() {
		use = "flowtally COMMAND [flags]"
	}
	line(".Bd -literal -compact\n%s\n.Ed", roff(use))
	line(".Sh DESCRIPTION")
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	paragraphs(&b, text)
	if subs := cmd.Commands(); len(subs) > 0 {
		line(".Pp\nIts commands are:\n.Bl -tag -width Ds")
		for _, c := range subs {
			if !c.Hidden && c.Name() != "help" {
				line(".It Cm %s", roff(c.Name()))
				prose(&b, c.Short+".")
			}
		}
		line(".El")
	}
	flagList(&b, cmd.NonInheritedFlags(), "The options are:")
	flagList(&b, cmd.InheritedFlags(), "Options of every command are:")
	line(".Sh ENVIRONMENT")
	line("Every option can be set by a variable,\n.Ev FLOWTALLY_COMMAND_OPTION ,")
	line("and by the file that\n.Fl -config\nnames.")
	line(".Sh EXIT STATUS")
	prose(&b, "0 is success, 2 a mistake in the call, 1 every other error, which is said in one sentence.")
	if cmd.Example != "" {
		line(".Sh EXAMPLES\n.Bd -literal")
		for l := range strings.SplitSeq(cmd.Example, "\n") {
			line("%s", roff(strings.TrimPrefix(l, "  ")))
		}
		line(".Ed")
	}
	var see []string
	if cmd.HasParent() {
		see = append(see, pageName(cmd.Parent()))
	}
	for _, c := range cmd.Commands() {
		if !c.Hidden && c.Name() != "help" {
			see = append(see, pageName(c))
		}
	}
	line(".Sh SEE ALSO")
	for i, name := range see {
		comma := " ,"
		if i == len(see)-1 {
			comma = ""
		}
		line(".Xr %s 1%s", name, comma)
	}
	return b.Bytes()
}

// flagList lists flags, where there are any, under a sentence.
func flagList(b *bytes.Buffer, flags *pflag.FlagSet, head string) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".Pp\n%s\n.Bl -tag -width Ds\n", head)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "Fl -" + roff(f.Name)
		if f.Shorthand != "" {
			name = "Fl " + f.Shorthand + " , " + name
		}
		if f.NoOptDefVal == "" {
			name += " Ar " + roff(strings.ReplaceAll(f.Value.Type(), " ", "-"))
		}
		usage := f.Usage
		if d := f.DefValue; d != "" && d != "false" && d != "0" && f.Name != "help" {
			usage += " (default " + d + ")"
		}
		fmt.Fprintf(b, ".It %s\n", name)
		prose(b, upper(usage)+".")
	})
	b.WriteString(".El\n")
}

// paragraphs writes text, whose paragraphs are divided by empty lines.
func paragraphs(b *bytes.Buffer, text string) {
	for i, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".Pp\n")
		}
		prose(b, p)
	}
}

// prose writes sentences, each from a line of its own on, in lines of less than 80 bytes.
func prose(b *bytes.Buffer, text string) {
	at := 0
	for word := range strings.FieldsSeq(text) {
		word = roff(word)
		switch {
		case at == 0:
		case at+1+len(word) > 78:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
		if strings.HasSuffix(word, ".") || strings.HasSuffix(word, "?") || strings.HasSuffix(word, ".)") {
			b.WriteByte('\n')
			at = 0
		}
	}
	if at > 0 {
		b.WriteByte('\n')
	}
}

// written is when the pages are of: now, or the time that a reproducible build says.
func written() time.Time {
	if n, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(n, 0).UTC()
	}
	return time.Now().UTC()
}

// roff writes text so that none of it is taken for a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "~", `\(ti`, "^", `\(ha`,
		"…", "...", "–", `\(en`, "×", `\(mu`, "±", `\(+-`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
