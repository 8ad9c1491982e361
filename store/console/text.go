package console

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"flowtally/query"
)

const (
	// MaxName is the most characters that a name may have.
	MaxName = 100
	// MaxNote is the most characters that a note or the address of a view may have.
	MaxNote = 4096
)

var color = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// checkText refuses text that a page cannot show: invalid UTF-8, control characters
// other than newline and tab, more than most characters.
func checkText(parameter, s string, most int) error {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return &query.Error{Parameter: parameter, Reason: "it has characters that cannot be shown"}
	case utf8.RuneCountInString(s) > most:
		return &query.Error{Parameter: parameter, Reason: fmt.Sprintf("it is longer than %d characters", most)}
	}
	return nil
}

func checkName(s string) error {
	if strings.ContainsAny(s, "\n\t") {
		return &query.Error{Parameter: "name", Reason: "a name is one line"}
	}
	return checkText("name", s, MaxName)
}

func checkColor(s string) error {
	if s != "" && !color.MatchString(s) {
		return &query.Error{Parameter: "color", Reason: fmt.Sprintf("%q is not a colour: write it as #1f77b4", s)}
	}
	return nil
}
