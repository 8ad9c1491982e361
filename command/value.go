package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// kind is what the values of a flag are. Every flag of every command has one, so that
// whatever is wrong with a value, and wherever it stands (the command line, the
// environment, the file), the answer is what is wanted, in words of ours.
type kind[T any] struct {
	// name is what --help calls a value.
	name string
	// wants ends the sentence "want …".
	wants string
	// read returns the value of a text. Its error is a sentence that says what is
	// wanted; where it is errWanted, wants does.
	read func(string) (T, error)
	// write returns the text of a value, as read takes it; nil is fmt.Sprint.
	write func(T) string
	// words are those that a value begins with, for the shell to complete; nil has none.
	words func(begin string) []string
	// split divides a text in which several may stand; nil divides none.
	split func(string) []string
	// once says that whoever gives two of a flag means both, as of captures to read;
	// else the last one holds, as is usual.
	once bool
	// needed says that an empty text is a mistake, even where the default is empty.
	needed bool
	// secret says that a value may have a password in it, which no error repeats.
	secret bool
}

// errWanted says that a text is no value, and nothing more than what would be one.
var errWanted = errors.New("want another value")

// of reads a value.
func (k kind[T]) of(text string) (T, error) {
	v, err := k.read(text)
	if errors.Is(err, errWanted) {
		err = errors.New("want " + k.wants)
	}
	return v, err
}

func (k kind[T]) text(v T) string {
	if k.write != nil {
		return k.write(v)
	}
	return fmt.Sprint(v)
}

// one adds a flag of one value to fs, with a letter for short unless that is empty.
func one[T any](fs *pflag.FlagSet, to *T, name, short string, otherwise T, k kind[T], usage string) *pflag.Flag {
	*to = otherwise
	return fs.VarPF(&single[T]{kind: k, to: to, otherwise: otherwise}, name, short, usage)
}

// single is a flag of one value.
type single[T any] struct {
	kind[T]
	to        *T
	otherwise T
	given     string // what was said last
}

func (v *single[T]) Type() string   { return v.name }
func (v *single[T]) String() string { return v.text(*v.to) }

// Set reads the value. Nothing is the default where that is empty: a script that has nothing
// to say says so.
func (v *single[T]) Set(text string) error {
	if text == "" && !v.needed && v.text(v.otherwise) == "" {
		*v.to = v.otherwise
		return nil
	}
	got, err := v.of(text)
	if err != nil {
		return err
	}
	if v.once && v.given != "" && v.given != text {
		return fmt.Errorf("want one value, and %q is given, too", v.given)
	}
	*v.to, v.given = got, text
	return nil
}

func (v *single[T]) suggest(begin string) []string { return suggest(v.kind, begin) }

// many adds a flag that can be repeated.
func many[T any](fs *pflag.FlagSet, to *[]T, name, short string, otherwise []T, k kind[T], usage string) {
	*to = otherwise
	fs.VarP(&several[T]{kind: k, to: to}, name, short, usage)
}

// several is a flag of any number of values. It is a pflag.SliceValue.
type several[T any] struct {
	kind[T]
	to    *[]T
	given bool
}

func (v *several[T]) Type() string   { return v.name }
func (v *several[T]) String() string { return strings.Join(v.GetSlice(), " ") }

func (v *several[T]) suggest(begin string) []string { return suggest(v.kind, begin) }

// Set adds a value; the first takes the place of the default. What was said before
// would do nothing.
func (v *several[T]) Set(text string) error {
	texts := []string{text}
	if v.split != nil {
		texts = v.split(text)
	}
	var all []T
	if v.given {
		all = *v.to
	}
	for _, t := range texts {
		got, err := v.of(strings.TrimSpace(t))
		if err != nil && len(texts) > 1 {
			return fmt.Errorf("%q: %w", t, err)
		}
		if err != nil {
			return err
		}
		said := v.text(got)
		if slices.ContainsFunc(all, func(had T) bool { return v.text(had) == said }) {
			return fmt.Errorf("want each once, and %s is given twice", said)
		}
		all = append(all[:len(all):len(all)], got)
	}
	*v.to, v.given = all, true
	return nil
}

// Append adds a value.
func (v *several[T]) Append(text string) error { return v.Set(text) }

// Replace takes the values in place of all.
func (v *several[T]) Replace(texts []string) error {
	v.given = false
	*v.to = nil
	for _, t := range texts {
		if err := v.Set(t); err != nil {
			return err
		}
	}
	return nil
}

// GetSlice returns the texts of the values.
func (v *several[T]) GetSlice() []string {
	var texts []string
	for _, x := range *v.to {
		texts = append(texts, v.text(x))
	}
	return texts
}

// suggest returns what could stand in place of the begin of a value: where several are
// divided by commas, of the last.
func suggest[T any](k kind[T], begin string) []string {
	if k.words == nil {
		return nil
	}
	before := ""
	if i := strings.LastIndexByte(begin, ','); k.split != nil && i >= 0 {
		before, begin = begin[:i+1], begin[i+1:]
	}
	var out []string
	for _, w := range k.words(begin) {
		if strings.HasPrefix(w, begin) {
			out = append(out, before+w)
		}
	}
	return out
}

// atCommas divides values that have no commas in them.
func atCommas(text string) []string { return strings.Split(text, ",") }

// among are the values that are one of a few words.
func among[T ~string](wants string, words ...T) kind[T] {
	return kind[T]{
		name:  "word",
		wants: wants,
		read: func(text string) (T, error) {
			w := T(strings.ToLower(strings.TrimSpace(text)))
			if !slices.Contains(words, w) {
				return w, errWanted
			}
			return w, nil
		},
		words: func(string) []string {
			var all []string
			for _, w := range words {
				all = append(all, string(w))
			}
			return all
		},
	}
}

// anyText are texts of which only the reader knows what they mean.
func anyText(name, wants string) kind[string] {
	return kind[string]{name: name, wants: wants, once: true, read: func(text string) (string, error) {
		if strings.TrimSpace(text) == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
			return "", errWanted
		}
		return text, nil
	}}
}

// path is a file or a directory.
func path(wants string) kind[string] { return anyText("file", wants) }

// toggle adds a flag that is on or off, and on where it stands alone.
func toggle(fs *pflag.FlagSet, to *bool, name, short string, otherwise bool, usage string) {
	one(fs, to, name, short, otherwise, switches, usage).NoOptDefVal = "true"
}

// switches are on or off.
var switches = kind[bool]{
	name: "bool", wants: "true or false, behind an equals sign",
	read: func(text string) (bool, error) {
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "true", "yes", "on", "1", "t", "y":
			return true, nil
		case "false", "no", "off", "0", "f", "n":
			return false, nil
		}
		return false, errWanted
	},
	words: func(string) []string { return []string{"true", "false"} },
}

func (v *single[T]) wanted() string  { return v.wants }
func (v *several[T]) wanted() string { return v.wants }

func (v *single[T]) isSecret() bool { return v.secret }

// showable is a value as an error repeats it.
func showable(f *pflag.Flag, text string) string {
	if v, ok := f.Value.(interface{ isSecret() bool }); ok && v.isSecret() {
		return ""
	}
	return fmt.Sprintf(" %q", text)
}

// several is a kind for a flag that can be repeated, and whose values have no commas.
func (k kind[T]) several() kind[T] {
	k.split = atCommas
	return k
}
