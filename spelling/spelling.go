// Package spelling finds the word that was meant where one was misspelt. It is pure.
package spelling

import (
	"slices"
	"strings"
)

// Near returns up to three of the words, those most similar to what was written.
func Near(said string, words []string) []string {
	said = strings.ToLower(said)
	if len(said) > 40 {
		return nil
	}
	type scored struct {
		word string
		far  int
	}
	var all []scored
	for _, w := range words {
		d := Distance(said, w)
		if strings.HasPrefix(w, said) {
			switch { // somebody who stopped early; of a long word nothing is nearer
			case len(said) >= 4:
				d = 0
			case len(said) >= 2:
				d = min(d, 1)
			}
		}
		if limit := 1 + max(len(said), len(w))/4; d <= limit && d < max(len(said), len(w)) {
			all = append(all, scored{w, d})
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int {
		if a.far != b.far {
			return a.far - b.far
		}
		return strings.Compare(a.word, b.word)
	})
	var out []string
	for i := 0; i < len(all) && i < 3; i++ {
		out = append(out, all[i].word)
	}
	return out
}

// Distance is how many letters must be inserted, removed, replaced or swapped with
// their neighbour to turn a into b.
func Distance(a, b string) int {
	var before, prev []int
	cur := make([]int, len(b)+1)
	for j := range cur {
		cur[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, cur = prev, cur, make([]int, len(b)+1)
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return cur[len(b)]
}

// Hint ends a sentence about a misspelt word: "; did you mean …?" with the most similar of the
// words, empty where none resembles it.
func Hint(said string, words []string) string {
	if near := Near(said, words); len(near) > 0 {
		return "; did you mean " + near[0] + "?"
	}
	return ""
}
