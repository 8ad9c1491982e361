package pcapfilter

import "fmt"

// unknownWord says what may have been meant.
func unknownWord(w string) string {
	best, distance := "", 3
	if len(w) > 20 {
		w = w[:20]
	}
	for k := range keywords {
		if d := editDistance(w, k); d < distance || d == distance && k < best {
			best, distance = k, d
		}
	}
	if best != "" && distance < len(w) {
		return fmt.Sprintf("there is no such word; did you mean %s?", best)
	}
	return "there is no such word (names of hosts are not looked up: write the address)"
}

// editDistance counts the letters to change, add, leave out or swap with their
// neighbour.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				cost++
			}
			rows[i][j] = min(cost, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
