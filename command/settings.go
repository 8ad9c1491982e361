package command

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A setting is a flag. What the command line leaves out is taken from the
// environment (FLOWTALLY_<COMMAND>_<FLAG>), then from the section of the YAML
// file that carries the command's name, then from the default.

// applySettings fills the flags of cmd that were not given. An unknown key in
// the file's section is an error: a misspelt setting must not be ignored.
func applySettings(cmd *cobra.Command, lookupEnv func(string) (string, bool)) error {
	section := map[string]any{}
	file, _ := cmd.Flags().GetString("config")
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
		env := envName(cmd.Name(), f.Name)
		if v, ok := lookupEnv(env); ok && v != "" {
			if e := setFlag(cmd.Flags(), f, v); e != nil {
				err = usageError{fmt.Errorf("%s=%q: %w", env, v, e)}
			}
			return
		}
		if v, ok := section[f.Name]; ok {
			if e := setFlag(cmd.Flags(), f, v); e != nil {
				err = usageError{fmt.Errorf("%s: %s: %s: %w", file, cmd.Name(), f.Name, e)}
			}
		}
	})
	return err
}

// envName is the variable of a flag: FLOWTALLY_WEB_ALLOW_HOST. The flags that
// every command has, such as --log-level, go without the command's name.
func envName(command, flag string) string {
	if slices.Contains(globalFlags, flag) {
		command = ""
	} else {
		command += "_"
	}
	return "FLOWTALLY_" + strings.ToUpper(strings.ReplaceAll(command+flag, "-", "_"))
}

// globalFlags are the flags of every command.
var globalFlags = []string{"log-level", "log-format", "config"}

// setFlag gives a flag a value from outside the command line: a list sets a
// repeatable flag once an element.
func setFlag(fs *pflag.FlagSet, f *pflag.Flag, v any) error {
	switch v := v.(type) {
	case []any:
		if _, ok := f.Value.(pflag.SliceValue); !ok {
			return fmt.Errorf("takes one value, not a list")
		}
		for _, x := range v {
			text := fmt.Sprint(x)
			if m, ok := x.(map[string]any); ok {
				var err error
				if text, err = parts(m); err != nil {
					return err
				}
			}
			if err := fs.Set(f.Name, text); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		return fmt.Errorf("takes a value, not a mapping")
	case string:
		if _, ok := f.Value.(pflag.SliceValue); ok { // several, divided by spaces, in the environment
			for _, x := range strings.Fields(v) {
				if err := fs.Set(f.Name, x); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return fs.Set(f.Name, fmt.Sprint(v))
}

// parts writes a mapping as the command line has it, ADDRESS,name=value,…: for
// destinations, {address: …, version: …, filter: …}. The filter comes last,
// because there may be commas in it.
func parts(m map[string]any) (string, error) {
	address, ok := m["address"]
	if !ok {
		return "", fmt.Errorf("a mapping needs an address")
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
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	var sections map[string]map[string]any
	if err := yaml.Unmarshal(b, &sections); err != nil {
		return nil, usageError{fmt.Errorf("configuration file %s: %s", file, strings.TrimSpace(yaml.FormatError(err, false, true)))}
	}
	for name := range sections {
		if c, _, err := cmd.Root().Find([]string{name}); err != nil || c == cmd.Root() {
			return nil, usageError{fmt.Errorf("configuration file %s: there is no command %q to configure", file, name)}
		}
	}
	section := sections[cmd.Name()]
	for key := range section {
		if cmd.Flags().Lookup(key) == nil {
			return nil, usageError{fmt.Errorf("configuration file %s: %s: there is no setting %q (flowtally %s --help lists them)", file, cmd.Name(), key, cmd.Name())}
		}
	}
	return section, nil
}
