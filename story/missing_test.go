package story

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"flowtally/store/console"
)

// Every warning and error of a log is in docs/missing.md, with why and what to do.
func TestEveryWarningIsExplained(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "missing.md"))
	if err != nil {
		t.Fatal(err)
	}
	said := 0
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || method.Sel.Name != "Warn" && method.Sel.Name != "Error" {
				return true
			}
			text, ok := call.Args[0].(*ast.BasicLit)
			if !ok || text.Kind != token.STRING {
				return true
			}
			message, err := strconv.Unquote(text.Value)
			if err != nil {
				t.Fatal(err)
			}
			said++
			if !strings.Contains(string(doc), "\n| `"+message+"` |") {
				t.Errorf("%s logs a warning that docs/missing.md does not explain: %q", files.Position(call.Pos()), message)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if said < 30 {
		t.Errorf("%d warnings were found: where are the others?", said)
	}
}

// Every finding of a diagnosis that asks for a change is there as well.
func TestEveryFindingIsExplained(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "missing.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range console.Codes() {
		if !code.OK() && !strings.Contains(string(doc), "\n| `"+string(code)+"` |") {
			t.Errorf("docs/missing.md does not explain %s", code)
		}
	}
}
