package story

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// room is a package: what it is, and which packages of ours it imports itself. A package
// that is not here is a room without a plan, and the test says so. docs/architecture.md
// has this table; FLOWTALLY_UPDATE=1 writes it there.
type room struct {
	path, is string
	imports  []string // "*": any
}

var rooms = []room{
	{"flow", "what a flow is: the record, its key, the table of fields", nil},
	{"netflow", "the wire: NetFlow v5, v9 and IPFIX to and from records", []string{"flow"}},
	{"spelling", "the word that was meant where one is misspelt", nil},
	{"calendar", "times, periods and zones as people write them", nil},
	{"filter", "the filter language: parse, match a record, write a condition of SQL", []string{"calendar", "flow", "spelling"}},
	{"query", "what can be asked, and what an answer is", []string{"flow", "calendar", "filter", "spelling"}},
	{"exporter/tunnel", "the headers of tunnels: GRE, ERSPAN, VXLAN, …", nil},
	{"exporter/capture", "packets from a file, an interface or a mirror tunnel", []string{"exporter/tunnel", "spelling"}},
	{"exporter/packet", "the headers of one packet", []string{"flow", "exporter/tunnel"}},
	{"exporter/meter", "the Metering Process: packets to records", []string{"flow", "exporter/packet"}},
	{"exporter/pcapfilter", "tcpdump's filters, compiled to programs", []string{"spelling"}},
	{"exporter", "the Exporting Process", []string{"flow", "netflow", "filter", "exporter/capture", "exporter/packet", "exporter/meter"}},
	{"collector", "the Collecting Process", []string{"flow", "netflow"}},
	{"migrations", "the schema, a file a subject", nil},
	{"store/row", "a flow as a row: columns, bytes of COPY, clean text", []string{"flow"}},
	{"store/rollup", "summaries of the heaviest values, grains, the hand-over", []string{"flow"}},
	{"store", "the database: connection, roles, schema, partitions", []string{"flow", "store/row", "migrations"}},
	{"store/ingest", "storing: Writer, spool, sequences, reports", []string{"flow", "store", "store/row", "store/rollup"}},
	{"store/keeper", "sums, settles, rebuilds, seals, removes", []string{"flow", "store", "store/row", "store/rollup"}},
	{"store/answer", "a question's plan, its statements, its answer", []string{"flow", "calendar", "filter", "query", "store", "store/rollup"}},
	{"store/console", "views, names, exporters, losses, diagnoses, SQL of people", []string{"flow", "filter", "query", "store"}},
	{"service", "Writer, Keeper and Collecting Process, assembled for command and lab", []string{"collector", "store", "store/ingest", "store/keeper", "store/rollup"}},
	{"web", "the HTTP API and the console; words for people", []string{"flow", "filter", "query", "store", "store/answer", "store/console"}},
	{"lab/postgres", "a private PostgreSQL server", nil},
	{"lab/truth", "captures with known totals, for tests", nil},
	{"lab/traffic", "the demo's packets", []string{"exporter/capture"}},
	{"lab", "the whole house in one process", []string{"*"}},
	{"command", "the command line, a file a command", []string{"*"}},
	{"", "the door", []string{"command"}},
	{"flow/flowtest", "records for tests", []string{"flow"}},
	{"lab/postgres/pgtest", "databases for tests", []string{"lab/postgres", "store"}},
	{"store/storetest", "databases with flows for tests", []string{"*"}},
	{"story", "the end-to-end tests", nil},
}

// mustNotReach are packages of others that a room must never pull in, and why.
var mustNotReach = []struct{ from, path, why string }{
	{"exporter", "github.com/jackc/pgx", "an exporter near the packets needs no database driver"},
	{"collector", "github.com/jackc/pgx", "the collector knows a Sink, not PostgreSQL"},
	{"collector", "github.com/google/gopacket", "the collector decodes messages, not packets"},
	{"flow", "database/sql", "flow is pure"},
	{"flow", "log/slog", "flow is pure"},
	{"netflow", "database/sql", "the wire knows no database"},
	{"exporter/packet", "github.com/calmh/ipfix", "packets are not messages"},
	{"exporter/meter", "github.com/calmh/ipfix", "metering ends at the record"},
	{"exporter", "flowtally/store", "an exporter near the packets knows no database"},
	{"exporter", "flowtally/web", "an exporter near the packets serves no page"},
	{"collector", "flowtally/store", "the collector knows a Sink, not PostgreSQL"},
	{"query", "github.com/jackc/pgx", "what can be asked is pure"},
	{"store/row", "github.com/jackc/pgx/v5/pgxpool", "a row is bytes"},
	{"store/rollup", "github.com/jackc/pgx", "a summary is pure"},
	{"store/ingest", "flowtally/query", "storing knows no questions"},
	{"store/ingest", "flowtally/filter", "storing knows no questions"},
	{"store/keeper", "flowtally/query", "summing knows no questions"},
	{"store/keeper", "flowtally/filter", "summing knows no questions"},
	{"store/answer", "flowtally/store/ingest", "who asks does not store"},
	{"store/console", "flowtally/store/ingest", "who asks does not store"},
	{"web", "flowtally/store/ingest", "the page stores no flows"},
	{"web", "flowtally/store/keeper", "the page sums no flows"},
}

// root is the repository's root, from here.
const root = ".."

// goList asks the go command about packages below the root, a line each.
func goList(t *testing.T, format string, packages string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", format, packages)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestImports(t *testing.T) {
	const module = "flowtally"
	table := make(map[string]room)
	for _, r := range rooms {
		table[r.path] = r
	}
	for _, line := range goList(t, `{{.ImportPath}};{{join .Imports " "}};{{join .Deps " "}}`, "./...") {
		words := strings.Split(line, ";")
		pkg := strings.TrimPrefix(strings.TrimPrefix(words[0], module), "/")
		r, known := table[pkg]
		if !known {
			t.Errorf("package %s is not in the import table: give the concept a room there", words[0])
			continue
		}
		imports := strings.Fields(words[1])
		for _, dep := range imports {
			ours, ok := strings.CutPrefix(dep, module+"/")
			if ok && !slices.Contains(r.imports, ours) && !slices.Contains(r.imports, "*") {
				t.Errorf("%s imports %s, which its room may not", words[0], dep)
			}
		}
		for _, ours := range r.imports {
			if ours != "*" && !slices.Contains(imports, module+"/"+ours) {
				t.Errorf("%s does not import %s, as the table says", words[0], ours)
			}
		}
		for _, dep := range strings.Fields(words[2]) {
			for _, m := range mustNotReach {
				if pkg == m.from && (dep == m.path || strings.HasPrefix(dep, m.path+"/")) {
					t.Errorf("%s reaches %s: %s", words[0], dep, m.why)
				}
			}
		}
	}
}

// TestImportTable: docs/architecture.md has the table that TestImports holds.
func TestImportTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("| package | what it is | imports of ours |\n|---|---|---|\n")
	for _, r := range rooms {
		imports := "–"
		switch {
		case slices.Contains(r.imports, "*"):
			imports = "everything"
		case len(r.imports) > 0:
			imports = "`" + strings.Join(r.imports, "`, `") + "`"
		}
		name := r.path
		if name == "" {
			name = "main"
		}
		b.WriteString("| `" + name + "` | " + r.is + " | " + imports + " |\n")
	}
	name := filepath.Join(root, "docs", "architecture.md")
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const from, to = "<!-- rooms -->\n", "<!-- end of rooms -->\n"
	before, rest, ok1 := strings.Cut(string(doc), from)
	have, after, ok2 := strings.Cut(rest, to)
	switch {
	case !ok1 || !ok2:
		t.Fatalf("%s has no table between %q and %q", name, from, to)
	case have == b.String():
	case os.Getenv("FLOWTALLY_UPDATE") != "":
		if err := os.WriteFile(name, []byte(before+from+b.String()+to+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s differs from the table of this test: run FLOWTALLY_UPDATE=1 go test ./story -run TestImportTable", name)
	}
}

// TestDoor: no Go file is at the root but the door, which leads into command.
func TestDoor(t *testing.T) {
	for _, line := range goList(t, `{{join .GoFiles " "}};{{join .TestGoFiles " "}};{{join .Imports " "}}`, ".") {
		if want := "main.go;;flowtally/command os"; line != want {
			t.Errorf("the root has the files, tests and imports %q, want %q", line, want)
		}
	}
}

// TestPureRooms: what parses bytes and holds laws has no clock, no sockets and
// no files of its own; time is an argument.
func TestPureRooms(t *testing.T) {
	for _, dir := range []string{"flow", "netflow", "calendar", "spelling", "filter", "exporter/tunnel", "exporter/packet", "exporter/meter", "exporter/pcapfilter", "query", "store/row", "store/rollup"} {
		for name, f := range parseDir(t, dir) {
			for _, imp := range f.Imports {
				switch path := strings.Trim(imp.Path.Value, `"`); path {
				case "os", "log", "log/slog", "net/http", "database/sql":
					t.Errorf("%s imports %s", name, path)
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					// Of net only what addresses are: no sockets, no look-ups.
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "net" && !slices.Contains([]string{"IP", "IPv4len", "IPv6len", "HardwareAddr"}, s.Sel.Name) {
						t.Errorf("%s uses net.%s: sockets are at the rim", name, s.Sel.Name)
					}
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Sleep", "NewTicker", "NewTimer", "After"}, s.Sel.Name) {
						t.Errorf("%s calls time.%s: time is an argument here", name, s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// TestPackageComments: each package says what it is, once.
func TestPackageComments(t *testing.T) {
	for _, r := range rooms {
		dir := filepath.FromSlash(r.path)
		if dir == "" {
			dir = "."
		}
		if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
			t.Errorf("the import table names %s: %v", r.path, err)
			continue
		}
		var with []string
		for name, f := range parseDir(t, dir) {
			if f.Doc != nil {
				with = append(with, name)
				want := "Package " + f.Name.Name + " "
				if f.Name.Name == "main" {
					want = "Command flowtally "
				}
				if !strings.HasPrefix(f.Doc.Text(), want) {
					t.Errorf("%s: the package comment does not begin with %q", name, want)
				}
			}
		}
		if len(with) != 1 {
			t.Errorf("%s: %d files carry a package comment %v, want one", dir, len(with), with)
		}
	}
}

// parseDir parses the Go files of dir, below the root, that are not tests.
func parseDir(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	dir = filepath.Join(root, dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		name := filepath.Join(dir, e.Name())
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = f
	}
	return files
}

// TestTopLevel: the listing of the repository is its table of contents, and the
// README names what a newcomer types.
func TestTopLevel(t *testing.T) {
	for _, name := range []string{"exporter", "collector", "web", "migrations", "command", "story", "deploy", "main.go", "go.mod", "go.sum", "docker-compose.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile", "docs"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"make run", "make test", "docker compose up", "CONTRIBUTING.md"} {
		if !strings.Contains(string(b), words) {
			t.Errorf("README.md does not name %q", words)
		}
	}
}

// TestContributing: the files that CONTRIBUTING.md sends people to are there.
func TestContributing(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile("`([a-z]+/[A-Za-z0-9_./]*)`").FindAllStringSubmatch(string(b), -1)
	for _, m := range files {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(m[1]))); err != nil {
			t.Errorf("CONTRIBUTING.md names %s: %v", m[1], err)
		}
	}
	if len(files) < 25 {
		t.Errorf("CONTRIBUTING.md names only %d files", len(files))
	}
}
