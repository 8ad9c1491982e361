package query

import (
	"slices"
	"strings"
)

// Command is a command line, word by word.
type Command []string

// NewCommand begins the command line of a command of flowtally.
func NewCommand(name ...string) Command { return append(Command{"flowtally"}, name...) }

// With returns the command line with a flag and its value.
func (c Command) With(flag, value string) Command {
	return append(slices.Clip(c), "--"+flag, value)
}

// If returns the command line with a flag without value, when it is set.
func (c Command) If(set bool, flag string) Command {
	if !set {
		return c
	}
	return append(slices.Clip(c), "--"+flag)
}

// Words returns the command line with words behind its flags, nothing for the empty text.
func (c Command) Words(text string) Command {
	if text == "" {
		return c
	}
	return append(slices.Clip(c), text)
}

// String writes the command line for a POSIX shell.
func (c Command) String() string {
	words := make([]string, len(c))
	for i, w := range c {
		words[i] = shellQuote(w)
	}
	return strings.Join(words, " ")
}

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-+=:.,/@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
