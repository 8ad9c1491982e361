package story

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mayImport is the import table of docs/architecture.md: what a package may
// reach of ours, directly or through others. A package that is not listed here
// is a room without a plan, and the test says so.
var mayImport = map[string][]string{
	"flow":                {},
	"netflow":             {"flow"},
	"filter":              {"flow"},
	"migrations":          {},
	"exporter/tunnel":     {},
	"exporter/capture":    {"exporter/tunnel"},
	"exporter/packet":     {"flow", "exporter/tunnel"},
	"exporter/meter":      {"flow", "exporter/packet", "exporter/tunnel"},
	"exporter/pcapfilter": {},
	"exporter":            {"flow", "netflow", "filter", "exporter/pcapfilter", "exporter/tunnel", "exporter/capture", "exporter/packet", "exporter/meter"},
	"collector":           {"flow", "netflow", "filter"},
	"store":               {"flow", "filter", "migrations"},
	"service":             {"flow", "netflow", "filter", "migrations", "store", "collector"},
	"web":                 {"flow", "filter", "migrations", "store"},
	"lab/postgres":        {},
	"lab/postgres/pgtest": {"flow", "filter", "migrations", "store", "lab/postgres"},
	"lab/truth":           {},
	"lab/traffic":         {"exporter/capture", "exporter/tunnel"},
	"lab":                 {"*"},
	"command":             {"*"},
	"story":               {},
	"":                    {"*"},
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
	for _, line := range goList(t, `{{.ImportPath}} {{join .Deps " "}}`, "./...") {
		words := strings.Fields(line)
		pkg := strings.TrimPrefix(strings.TrimPrefix(words[0], module), "/")
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("package %s is not in the import table: give the concept a room there", words[0])
			continue
		}
		for _, dep := range words[1:] {
			for _, m := range mustNotReach {
				if pkg == m.from && (dep == m.path || strings.HasPrefix(dep, m.path+"/")) {
					t.Errorf("%s reaches %s: %s", words[0], dep, m.why)
				}
			}
			ours, ok := strings.CutPrefix(dep, module+"/")
			if ok && !slices.Contains(allowed, ours) && !slices.Contains(allowed, "*") {
				t.Errorf("%s imports %s, which its room may not", words[0], dep)
			}
		}
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
	for _, dir := range []string{"flow", "netflow", "filter", "exporter/tunnel", "exporter/packet", "exporter/meter", "exporter/pcapfilter"} {
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
	for pkg := range mayImport {
		dir := filepath.FromSlash(pkg)
		if dir == "" {
			dir = "."
		}
		if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
			t.Errorf("the import table names %s: %v", pkg, err)
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
	for _, name := range []string{"exporter", "collector", "web", "migrations", "command", "story", "deploy", "main.go", "go.mod", "go.sum", "docker-compose.yml", "README.md", "CHANGELOG.md", "LICENSE", "Makefile", "docs"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"make run", "make test", "docker compose up"} {
		if !strings.Contains(string(b), words) {
			t.Errorf("README.md does not name %q", words)
		}
	}
}

// TestLinks: a link in our documents leads somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == ".tools") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
