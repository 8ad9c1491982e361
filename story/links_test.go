package story

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	mark    = regexp.MustCompile(`[^\p{L}\p{N}\p{M}_ -]`)
)

// anchors are the places of a document that a link can name: its headings, as they are
// written in addresses on code hosts.
func anchors(text string) map[string]bool {
	list := make(map[string]bool)
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		list[strings.ReplaceAll(mark.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return list
}

// Every link of a document to another one, or within itself, leads somewhere.
func TestLinks(t *testing.T) {
	read := make(map[string]string)
	names := []string{"../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md"}
	for _, pattern := range []string{"../docs/*.md", "../docs/adr/*.md", "../deploy/*.md", "../deploy/*/*.md"} {
		list, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, list...)
	}
	text := func(name string) (string, error) {
		if s, ok := read[name]; ok {
			return s, nil
		}
		b, err := os.ReadFile(name)
		read[name] = string(b)
		return string(b), err
	}
	checked := 0
	for _, name := range names {
		s, err := text(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(s, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			checked++
			to := name
			if target != "" {
				to = filepath.Join(filepath.Dir(name), target)
			}
			if info, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads nowhere", name, m[1])
			} else if anchor != "" && !info.IsDir() {
				there, err := text(to)
				if err != nil {
					t.Fatal(err)
				}
				if !anchors(there)[anchor] {
					t.Errorf("%s: %s has no such heading", name, m[1])
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("%d links were checked: where are the others?", checked)
	}
}
