package command

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"flowtally/spelling"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A setting is a flag. What the command line leaves out is taken from the
// environment (FLOWTALLY_<COMMAND>_<FLAG>), then from the section of the YAML
// file that carries the command's name, then from the default.

// saidIn is the annotation of a flag that was not given on the command line: where it
// was, as an error names it.
const saidIn = "said in"

// spelled is how whoever set a flag wrote it.
func spelled(f *pflag.Flag) string {
	if where := f.Annotations[saidIn]; len(where) > 0 {
		return where[0]
	}
	return "--" + f.Name
}

// applySettings fills the flags of cmd that were not given. An unknown key in
// the file's section is an error: a misspelt setting must not be ignored.
func applySettings(cmd *cobra.Command, lookupEnv func(string) (string, bool)) error {
	section := map[string]any{}
	file := cmd.Flags().Lookup("config").Value.String()
	if file == "" {
		file, _ = lookupEnv("FLOWTALLY_CONFIG")
	}
	if file != "" {
		var err error
		if section, err = readSection(file, cmd); err != nil {
			return err
		}
	}
	var err error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed || f.Name == "help" || f.Name == "config" {
			return
		}
		env := envName(cmd, f.Name)
		if v, ok := lookupEnv(env); ok && v != "" {
			f.Annotations = map[string][]string{saidIn: {env}}
			if e := setFlag(cmd.Flags(), f, v); e != nil {
				err = usageError{fmt.Errorf("%s%s: %w", env, showable(f, v), e)}
			}
			return
		}
		if v, ok := section[f.Name]; ok {
			where := fmt.Sprintf("%s: %s: %s", file, sectionName(cmd), f.Name)
			f.Annotations = map[string][]string{saidIn: {where}}
			if e := setFlag(cmd.Flags(), f, v); e != nil {
				err = usageError{fmt.Errorf("%s: %w", where, e)}
			}
		}
	})
	return err
}

// sectionName is what a command is called in the file and in the environment: of one
// below another both names.
func sectionName(cmd *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()), " ")
}

// envName is the variable of a flag: FLOWTALLY_WEB_ALLOW_HOST. The flags that
// every command has, such as --log-level, go without the command's name.
func envName(cmd *cobra.Command, flag string) string {
	name := flag
	if !slices.Contains(globalFlags, flag) {
		name = sectionName(cmd) + "_" + flag
	}
	return variablePrefix + strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(name))
}

// globalFlags are the flags of every command.
var globalFlags = []string{"log-level", "log-format", "config"}

// setFlag gives a flag a value from outside the command line: a list sets a
// repeatable flag once an element, a text once a word.
func setFlag(fs *pflag.FlagSet, f *pflag.Flag, v any) error {
	_, repeats := f.Value.(pflag.SliceValue)
	list, isList := v.([]any)
	_, isMap := v.(map[string]any)
	text, isText := v.(string)
	switch {
	case isList && !repeats:
		return errors.New("takes one value, not a list")
	case isMap && !repeats:
		return errors.New("takes a value, not a mapping")
	case isText && repeats:
		for _, word := range divided(text) {
			list = append(list, word)
		}
	case !isList:
		list = []any{v}
	}
	for _, x := range list {
		text := fmt.Sprint(x)
		switch x := x.(type) {
		case nil:
			return errors.New("has no value")
		case []any:
			return errors.New("takes a list of values, not one of lists")
		case map[string]any:
			var err error
			if text, err = parts(x); err != nil {
				return err
			}
		}
		err := fs.Set(f.Name, text)
		if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			err = invalid.Unwrap()
		}
		if err != nil && (isList || isMap || len(list) > 1 || !isText) {
			if said := showable(f, text); said != "" {
				err = fmt.Errorf("%s: %w", said[1:], err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// divided divides a text at its blanks, but for those in the filter of a destination, which
// goes to the end.
func divided(text string) []string {
	before, filtered, ok := strings.Cut(text, "filter=")
	all := strings.Fields(before)
	switch {
	case !ok:
	case len(all) == 0 || strings.HasSuffix(before, " "):
		all = append(all, "filter="+filtered)
	default:
		all[len(all)-1] += "filter=" + filtered
	}
	return all
}

// parts writes a mapping as the command line has it, ADDRESS,name=value,…: for
// destinations, {address: …, version: …, filter: …}. The filter comes last,
// because there may be commas in it.
func parts(m map[string]any) (string, error) {
	address, ok := m["address"]
	if !ok {
		return "", errors.New("a mapping needs an address")
	}
	text := fmt.Sprint(address)
	names := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(strings.Count(a, "filter"), strings.Count(b, "filter"))
	})
	for _, name := range names {
		if name != "address" {
			text += fmt.Sprintf(",%s=%v", name, m[name])
		}
	}
	return text, nil
}

// readSection returns the settings of cmd in the YAML file.
func readSection(file string, cmd *cobra.Command) (map[string]any, error) {
	bad := func(format string, args ...any) (map[string]any, error) {
		return nil, usageError{fmt.Errorf("configuration file %s: "+format, append([]any{file}, args...)...)}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	var all any
	if err := yaml.Unmarshal(b, &all); err != nil {
		return bad("%s", strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	sections, ok := all.(map[string]any)
	if !ok && all != nil {
		return bad("want sections, each with the name of a command and a colon, and its settings under it")
	}
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		c, _, err := cmd.Root().Find(strings.Fields(name))
		if err != nil || c == cmd.Root() || sectionName(c) != name {
			if slices.Contains(globalFlags, name) {
				return bad("%s stands outside of a section: it belongs under the name of a command", name)
			}
			return bad("there is no command %q to configure%s", name, spelling.Hint(name, commandNames(cmd.Root())))
		}
		_, mapping := sections[name].(map[string]any)
		if !mapping && sections[name] != nil {
			return bad("%s: want settings under it, a name, a colon and a value each", name)
		}
	}
	section, _ := sections[sectionName(cmd)].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(section)) {
		if cmd.Flags().Lookup(key) == nil {
			return bad("%s: there is no setting %q%s (flowtally %s --help lists them)", sectionName(cmd), key, spelling.Hint(key, flagNames(cmd.Flags())), sectionName(cmd))
		}
	}
	return section, nil
}

// flagNames are the names of the flags of a set.
func flagNames(fs *pflag.FlagSet) (names []string) {
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// commandNames are the names of the commands below one.
func commandNames(of *cobra.Command) (names []string) {
	for _, c := range of.Commands() {
		names = append(names, c.Name())
	}
	return names
}
