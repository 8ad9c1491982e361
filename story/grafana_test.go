package story

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"flowtally/collector"
	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/lab/postgres/pgtest"
	"flowtally/netflow"
	"flowtally/service"
	"flowtally/store"
	"flowtally/store/keeper"
	"flowtally/web"
)

// dashboard is what of a file of Grafana's the tests look at.
type dashboard struct {
	UID        string `json:"uid"`
	Title      string `json:"title"`
	Templating struct {
		List []struct {
			Name, Type, Query, AllValue string
			Options                     []struct{ Value string }
		}
	}
	Panels []struct {
		ID         int
		Title      string
		Datasource source
		GridPos    struct{ X, Y, W, H int }
		Targets    []struct {
			RefID, RawSQL, Format, Expr, LegendFormat string
			Datasource                                source
		}
	}
}

type source struct{ Type, UID string }

// dashboards reads those that are provisioned, by the names of their files.
func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy/grafana/dashboards/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = d
	}
	for _, name := range []string{"overview", "talkers", "shares", "exporters", "parts"} {
		if _, ok := all[name]; !ok {
			t.Errorf("there is no dashboard %s", name)
		}
	}
	return all
}

// TestDashboards: they are Grafana's to show: a number and a place for each panel, and
// only sources that are provisioned.
func TestDashboards(t *testing.T) {
	var provisioned struct {
		Datasources []struct{ Name, Type, UID, User string }
	}
	readYAML(t, "deploy/grafana/provisioning/datasources/flowtally.yml", &provisioned)
	types := map[string]string{}
	for _, s := range provisioned.Datasources {
		types[s.UID] = s.Type
		if s.UID == "flowtally" && s.User != "flow_reader" {
			t.Errorf("Grafana asks the database as %s", s.User)
		}
	}
	for name, d := range dashboards(t) {
		if d.UID != "flowtally-"+name || d.Title == "" {
			t.Errorf("%s: uid %q, title %q", name, d.UID, d.Title)
		}
		ids := map[int]bool{}
		for i, p := range d.Panels {
			if p.ID == 0 || ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
				t.Errorf("%s: panel %d %q: no number of its own, no title or no target", name, p.ID, p.Title)
			}
			ids[p.ID] = true
			for _, q := range d.Panels[:i] {
				a, b := p.GridPos, q.GridPos
				if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("%s: %q lies over %q", name, p.Title, q.Title)
				}
			}
			for _, s := range p.Targets {
				if types[s.Datasource.UID] != s.Datasource.Type || s.Datasource.Type == "" || (s.RawSQL == "") == (s.Expr == "") {
					t.Errorf("%s: %q: source %+v, want one of %v, and one question", name, p.Title, s.Datasource, types)
				}
			}
		}
	}
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// grafanaMacro is a macro of Grafana's for PostgreSQL, $__name(arguments).
var grafanaMacro = regexp.MustCompile(`\$__(\w+)\(([^)]*)\)`)

// expand does to a question what Grafana does: macros, then variables.
func expand(t *testing.T, question string, from, to time.Time, variables map[string]string) string {
	t.Helper()
	stamp := func(at time.Time) string { return "'" + at.UTC().Format(time.RFC3339Nano) + "'" }
	question = grafanaMacro.ReplaceAllStringFunc(question, func(text string) string {
		m := grafanaMacro.FindStringSubmatch(text)
		switch m[1] {
		case "timeFilter":
			return m[2] + " BETWEEN " + stamp(from) + " AND " + stamp(to)
		case "timeFrom":
			return stamp(from)
		case "timeTo":
			return stamp(to)
		}
		t.Errorf("the test knows no macro $__%s", m[1])
		return text
	})
	for name, value := range variables {
		question = regexp.MustCompile(`\$`+name+`\b|\$\{`+name+`\}`).ReplaceAllLiteralString(question, value)
	}
	if i := strings.Index(question, "$"); i >= 0 {
		t.Errorf("a variable that nobody gives a value: %s", question[i:])
	}
	return question
}

// described is a Registerer that knows what its metrics are called.
type described struct {
	prometheus.Registerer
	labels map[string][]string // by the metric's name
}

var metricDesc = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)

func (d *described) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 1000)
	c.Describe(descs)
	close(descs)
	for desc := range descs {
		if m := metricDesc.FindStringSubmatch(desc.String()); m != nil {
			d.labels[m[1]] = strings.Split(m[2], ",")
		}
	}
	return d.Registerer.Register(c)
}

func (d *described) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := d.Register(c); err != nil {
			panic(err)
		}
	}
}

// observed is a database with traffic and losses of the last minutes, and what the parts
// that made it call their metrics.
type observed struct {
	dsn     string
	metrics map[string][]string
}

func observe(t *testing.T) observed {
	t.Helper()
	dsn := pgtest.New(t)
	log := slog.New(slog.DiscardHandler)
	reg := &described{prometheus.NewRegistry(), map[string][]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	collected, webbed := make(chan error, 1), make(chan error, 1)
	bound, served := make(chan []netip.AddrPort, 1), make(chan netip.AddrPort, 1)
	go func() {
		collected <- service.Run(ctx, service.Config{DSN: dsn, Logger: log, Registerer: reg, Keeper: &keeper.Config{}, Collector: collector.Config{
			Listen: []string{"127.0.0.1:0"}, BatchAge: 100 * time.Millisecond, Ready: func(a []netip.AddrPort) { bound <- a }}})
	}()
	var to netip.AddrPort
	select {
	case addresses := <-bound:
		to = addresses[0]
	case err := <-collected:
		t.Fatal(err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		webbed <- web.Run(ctx, web.Config{Listen: "127.0.0.1:0", DB: web.NewDatabase(db), Logger: log, Registerer: reg, Ready: func(a netip.AddrPort) { served <- a }})
	}()
	select {
	case <-served:
	case err := <-webbed:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-collected; err != nil {
			t.Error(err)
		}
		if err := <-webbed; err != nil {
			t.Error(err)
		}
		db.Close()
	})

	file, err := capture.OpenFile(storyCapture(t))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := exporter.Run(ctx, exporter.Config{Source: capture.Shifted(file, time.Now().Add(-20*time.Second)), To: []string{to.String()}, Version: netflow.IPFIX,
		Domain: 1, Logger: log, Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	// Another one loses messages on the way, and a third sends what nobody can read.
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	enc, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.IPFIX, Domain: 2})
	if err != nil {
		t.Fatal(err)
	}
	g := &gun{conn: conn, enc: enc, to: to}
	g.fire(t)
	g.aim(netip.AddrPortFrom(to.Addr(), 9)) // nobody is there
	g.fire(t)
	g.aim(to)
	g.fire(t)
	if _, err := conn.WriteToUDPAddrPort([]byte("nobody can read this"), to); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int64{
		"select coalesce(sum(flows), 0)::bigint from traffic_1m where dimension = 'total'": 53 + 2*gunStep,
		"select coalesce(sum(count), 0)::bigint from loss where unit = 'record'":           gunStep,
		"select count(*) from unreadable":                                                  1,
		"select count(*) from exporter_status":                                             2,
	} {
		waitFor(t, query, func() bool {
			n, err := count(ctx, t, dsn, query)
			return err == nil && n == want
		})
	}
	return observed{dsn, reg.labels}
}

// TestGrafanaAsks: every question of the dashboards is one that the role that reads may
// ask, is answered, and is answered with rows where there was traffic and loss.
func TestGrafanaAsks(t *testing.T) {
	o := observe(t)
	ctx := context.Background()
	db, err := pgx.Connect(ctx, o.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	for _, statement := range []string{"set role flow_reader", "set default_transaction_read_only = on", "set statement_timeout = '60s'"} {
		if _, err := db.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	to := time.Now()
	ask := func(t *testing.T, question string) (rows int, columns []string) {
		t.Helper()
		found, err := db.Query(ctx, question)
		if err != nil {
			t.Fatalf("%v\n%s", err, question)
		}
		for _, f := range found.FieldDescriptions() {
			columns = append(columns, f.Name)
		}
		for found.Next() {
			rows++
		}
		if err := found.Err(); err != nil {
			t.Fatalf("%v\n%s", err, question)
		}
		return rows, columns
	}
	asked := 0
	for name, d := range dashboards(t) {
		// Each variable has the values that can be chosen; the first is the default.
		choices := []map[string]string{{}}
		for _, v := range d.Templating.List {
			values := []string{v.AllValue}
			if v.Type == "query" {
				if n, columns := ask(t, expand(t, v.Query, to.Add(-time.Hour), to, nil)); n != 2 || !slices.Equal(columns, []string{"__text", "__value"}) {
					t.Errorf("%s: variable %s has %d values in columns %v, want the two exporters", name, v.Name, n, columns)
				}
			} else {
				values = nil
				for _, o := range v.Options {
					values = append(values, o.Value)
				}
			}
			var more []map[string]string
			for i, value := range values {
				for _, c := range choices {
					with := maps.Clone(c)
					with[v.Name] = value
					if i > 0 {
						with[" other"] = "" // not the default
					}
					more = append(more, with)
				}
			}
			choices = more
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				if target.RawSQL == "" {
					continue
				}
				t.Run(name+"/"+p.Title, func(t *testing.T) {
					for _, variables := range choices {
						_, other := variables[" other"]
						asked++
						rows, columns := ask(t, expand(t, target.RawSQL, to.Add(-time.Hour), to, variables))
						if rows == 0 && !other {
							t.Errorf("no rows of an hour with traffic and loss:\n%s", target.RawSQL)
						}
						if target.Format == "time_series" && !slices.Equal(columns, []string{"time", "metric", "value"}) {
							t.Errorf("the columns of a series are %v", columns)
						}
					}
				})
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d questions were asked", asked)
	}
	t.Run("metrics", func(t *testing.T) { checkMetrics(t, o.metrics) })
}

// alerts is a file of Prometheus' rules.
type alerts struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

// checkMetrics holds dashboards and alerts to metrics that there are, with labels that
// these have.
func checkMetrics(t *testing.T, metrics map[string][]string) {
	exprs := map[string]string{}
	for name, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				if target.Expr != "" {
					exprs[name+": "+p.Title+" "+target.RefID] = target.Expr + " " + target.LegendFormat
				}
			}
		}
	}
	var rules alerts
	readYAML(t, "deploy/prometheus/alerts.yml", &rules)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("alert %q has no severity, or does not say what it means", r.Alert)
			}
			exprs[r.Alert] = r.Expr + " " + strings.Join(slices.Collect(maps.Values(r.Annotations)), " ")
		}
	}
	if len(exprs) < 25 {
		t.Errorf("only %d expressions", len(exprs))
	}
	ours := regexp.MustCompile(`\bflowtally_[a-z0-9_]+`)
	labels := []*regexp.Regexp{regexp.MustCompile(`by \(([^)]*)\)`), regexp.MustCompile(`\{\{ *(?:\$labels\.)?(\w+)`), regexp.MustCompile(`(\w+)=~?"`)}
	for where, expr := range exprs {
		known := []string{"instance", "job", "le", "alertname"}
		for _, name := range ours.FindAllString(expr, -1) {
			if _, ok := metrics[name]; !ok {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					name = strings.TrimSuffix(name, suffix)
				}
			}
			has, ok := metrics[name]
			if !ok {
				t.Errorf("%s: nobody has a metric %s", where, name)
			}
			known = append(known, has...)
		}
		for _, pattern := range labels {
			for _, m := range pattern.FindAllStringSubmatch(expr, -1) {
				for _, label := range strings.Split(m[1], ",") {
					if label = strings.TrimSpace(label); !slices.Contains(known, label) {
						t.Errorf("%s: no metric in it has a label %q, only %v", where, label, known)
					}
				}
			}
		}
	}
}

// TestAlertsAreRules: promtool takes the rules and what asks for them, and the rules
// speak when they should.
func TestAlertsAreRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: apt-get install prometheus; make test-compose has one of its own")
	}
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = filepath.Join(root, "deploy/prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
