package command

import "regexp"

// notOurs are words of Go's library and of the libraries that read flags, which are for
// those who write programs.
var notOurs = regexp.MustCompile(`strconv|pars(e|ing)|time:|\bdial\b|\blookup\b|\blisten (udp|tcp)|\bnet\.|invalid argument|invalid syntax|unmarshal|out of range|\bopen [/.a-z]|unknown (short|flag)|flag needs|<nil>|%!|octets|Go value|interface \{|accepts \d|sequence end|no such host|goroutine|runtime error`)

// errNotPlain returns what of a text is not ours, else empty.
func errNotPlain(text string) string { return notOurs.FindString(text) }
