package row

import "strings"

// Text returns s as a text that PostgreSQL takes: valid UTF-8 without NUL, cut after 255
// bytes.
func Text(s string) string {
	if len(s) > 255 {
		s = s[:255]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}
