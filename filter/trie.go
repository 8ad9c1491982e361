package filter

import (
	"slices"
	"strings"

	"flowtally/flow"
)

// otherWords are what people call fields elsewhere.
var otherWords = map[string][]string{
	"source": {"src"}, "destination": {"dst"}, "dest": {"dst"}, "from": {"src ip"}, "to": {"dst ip"}, "sport": {"src port"}, "dport": {"dst port"},
	"src_ip": {"src ip"}, "dst_ip": {"dst ip"}, "octets": {"bytes"}, "pkts": {"packets"}, "ttl_equal": {"ttl equal"}, "asn": {"as"},
	"start": {"first seen"}, "end": {"last seen", "end reason"},
}

// meant returns the words for what people call a field elsewhere, a column of the
// view and the key of a ranking among it; none when it is nothing of the kind.
func meant(word string) []string {
	if words := otherWords[word]; words != nil {
		return words
	}
	f := flow.FieldNamed(word)
	if f == nil {
		f = flow.FieldOfKey(word)
	}
	if f == nil || f.Word == "" {
		return nil
	}
	return []string{f.Word}
}

// trie finds fields by their words.
type trie struct {
	kids map[string]*trie
	f    *field
}

// root is the trie of all words for flows, eventRoot of those for events.
var root, eventRoot = newTrie(table), newTrie(eventTable)

// newTrie returns the trie of the words of a vocabulary.
func newTrie(table []*field) *trie {
	t := &trie{}
	for _, f := range table {
		for _, n := range append([]string{f.name}, f.aliases...) {
			at := t
			for _, w := range strings.Fields(n) {
				if at.kids == nil {
					at.kids = make(map[string]*trie)
				}
				if at.kids[w] == nil {
					at.kids[w] = &trie{}
				}
				at = at.kids[w]
			}
			if at.f != nil && at.f != f {
				panic("filter: two fields are called " + n)
			}
			at.f = f
		}
	}
	return t
}

// has reports whether a field has these words.
func (t *trie) has(name string) bool {
	for _, w := range strings.Fields(name) {
		if t = t.kids[w]; t == nil {
			return false
		}
	}
	return t.f != nil
}

func (t *trie) words() []string {
	out := make([]string, 0, len(t.kids))
	for w := range t.kids {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

// lookup returns the node of a first word.
func (p *parser) lookup(word string) *trie { return p.root.kids[word] }

// starters are the words that a condition begins with.
func (p *parser) starters() []string { return append(p.root.words(), "not", "(") }
