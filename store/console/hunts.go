package console

import (
	_ "embed"
	"regexp"
	"strings"
)

// Hunt is an example of SQL that answers a question. Question is Name when docs/hunts.md
// says nothing more.
type Hunt struct {
	Name, Question, SQL string
}

// huntsText is a copy of docs/hunts.md; a test holds the two equal.
//
//go:embed hunts.txt
var huntsText string

var huntForm = regexp.MustCompile("(?s)## ([^\n]+)\n\n(.*?)\n*```sql\n(.*?)```")

// Hunts returns the hunts of docs/hunts.md.
func Hunts() []Hunt {
	var list []Hunt
	for _, m := range huntForm.FindAllStringSubmatch(huntsText, -1) {
		h := Hunt{Name: m[1], Question: strings.Join(strings.Fields(m[2]), " "), SQL: strings.TrimSpace(m[3])}
		if h.Question == "" {
			h.Question = h.Name
		}
		list = append(list, h)
	}
	return list
}
