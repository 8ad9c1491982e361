package command

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func versionCommand(version string, stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		RunE:  func(*cobra.Command, []string) error { return printVersion(stdout, version) },
	}
}

func printVersion(w io.Writer, version string) error {
	_, err := fmt.Fprintf(w, "flowtally %s %s %s/%s\n", buildVersion(version), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// buildVersion returns what the build said, else what Go recorded.
func buildVersion(version string) string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(development)"
}
