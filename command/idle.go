package command

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// idle is a flag that does something only when it acts.
type idle struct {
	flag string
	acts bool
	when string // says when it does
}

// refuseIdle refuses flags that ask for something which would silently not be done. What
// asks for the default asks for nothing.
func refuseIdle(cmd *cobra.Command, flags ...idle) error {
	for _, i := range flags {
		f := cmd.Flags().Lookup(i.flag)
		if f.Changed && !i.acts && f.Value.String() != f.DefValue {
			return usageError{fmt.Errorf("%s: %s does something only %s", sectionName(cmd), spelled(f), i.when)}
		}
	}
	return nil
}

// alone refuses what is given beside a flag that does all by itself.
func alone(cmd *cobra.Command, name string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		// The file and the environment may be those of an exporter that runs, too.
		if f.Name != name && err == nil && len(f.Annotations[saidIn]) == 0 && !slices.Contains(globalFlags, f.Name) && f.Value.String() != f.DefValue {
			err = usageError{fmt.Errorf("%s: --%s does nothing beside --%s", sectionName(cmd), f.Name, name)}
		}
	})
	return err
}
