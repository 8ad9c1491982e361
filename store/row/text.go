package row

import (
	"strings"
)

// Text makes a text one that a database takes, and not endless.
func Text(s string) string {
	if len(s) > 255 {
		s = s[:255]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}
