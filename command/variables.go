package command

import (
	"log/slog"
	"slices"
	"strings"

	"flowtally/spelling"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// variablePrefix is what our variables of the environment begin with.
const variablePrefix = "FLOWTALLY_"

// scriptVariables are those that no flag has: of docker-compose.yml and of the scripts. One
// that ends with an underscore stands for all that begin so.
var scriptVariables = []string{
	"FLOWTALLY_CONFIG",
	"FLOWTALLY_VERSION", "FLOWTALLY_COLLECTOR_PORT", "FLOWTALLY_WEB_PORT", "FLOWTALLY_INTERFACE",
	"FLOWTALLY_CLASS_", "FLOWTALLY_COMPOSE_", "FLOWTALLY_DATABASE_", "FLOWTALLY_GENEVE_PORT", "FLOWTALLY_GRAFANA_PORT", "FLOWTALLY_GRE_ADDRESS",
	"FLOWTALLY_NETWORK", "FLOWTALLY_PROMETHEUS_", "FLOWTALLY_RUN", "FLOWTALLY_VXLAN_PORT",
	"FLOWTALLY_SETUP", "FLOWTALLY_PG_BIN", "FLOWTALLY_CHROMIUM", "FLOWTALLY_PCAP",
	"FLOWTALLY_ONLY", "FLOWTALLY_SHOTS", "FLOWTALLY_URL", "FLOWTALLY_AUTH_", "FLOWTALLY_TLS_",
	"FLOWTALLY_TOKEN", "FLOWTALLY_SHARED", "FLOWTALLY_TORTURE", "FLOWTALLY_UPDATE", "FLOWTALLY_TEST_", "FLOWTALLY_KILL_TEST_", "FLOWTALLY_BENCH_",
}

// warnOfVariables warns of variables that begin like ours and are nobody's: a misspelt one
// does nothing.
func warnOfVariables(root *cobra.Command, environ []string, log *slog.Logger) {
	known := slices.Clone(scriptVariables)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		add := func(f *pflag.Flag) {
			if f.Name != "help" {
				known = append(known, envName(cmd, f.Name))
			}
		}
		cmd.LocalFlags().VisitAll(add)
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(root)
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, variablePrefix) || slices.ContainsFunc(known, func(k string) bool {
			return k == name || strings.HasSuffix(k, "_") && strings.HasPrefix(name, k)
		}) {
			continue
		}
		// What all have in common tells nothing of what was meant.
		near := spelling.Near(strings.TrimPrefix(name, variablePrefix), trimmed(known))
		args := []any{"variable", name}
		if len(near) > 0 {
			args = append(args, "did_you_mean", variablePrefix+strings.ToUpper(near[0]))
		}
		log.Warn("a variable of the environment is not known and does nothing", args...)
	}
}

// trimmed are the names without the prefix, in lower case, in which they are compared.
func trimmed(names []string) (out []string) {
	for _, n := range names {
		if strings.HasSuffix(n, "_") {
			continue // stands for many
		}
		out = append(out, strings.ToLower(strings.TrimPrefix(n, variablePrefix)))
	}
	slices.Sort(out)
	return out
}
