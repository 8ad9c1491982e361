package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"flowtally/netflow"
)

// printMessageJSON prints a message as one line of JSON.
func printMessageJSON(w io.Writer, x *netflow.Inspected) error { return json.NewEncoder(w).Encode(x) }

// printMessage prints a message for people.
func printMessage(w io.Writer, x *netflow.Inspected) error {
	exported := x.Exported
	if exported == "" {
		exported = "(not said)"
	}
	fmt.Fprintf(w, "%s from %s, domain %d, sequence %d, exported %s, %d octets\n", x.Version, x.From, x.Domain, x.Sequence, exported, x.Octets)
	for _, set := range x.Sets {
		fmt.Fprintf(w, "  set %d: %s, %d octets\n", set.ID, set.Kind, set.Octets)
		for _, t := range set.Templates {
			fmt.Fprintf(w, "    template %d: %d fields", t.ID, len(t.Fields))
			if t.Scopes > 0 {
				fmt.Fprintf(w, ", %d of them scopes", t.Scopes)
			}
			fmt.Fprintln(w)
			for _, f := range t.Fields {
				length := fmt.Sprint(f.Length)
				if f.Length == 65535 {
					length = "variable"
				}
				fmt.Fprintf(w, "      %-36s %5d %10d  %s\n", f.Name, f.ID, f.Enterprise, length)
			}
		}
		for i, r := range set.Records {
			fmt.Fprintf(w, "    record %d\n", i+1)
			for _, f := range r {
				fmt.Fprintf(w, "      %-36s %v\n", f.Name, printable(f.Value))
			}
		}
	}
	for _, e := range x.Errors {
		fmt.Fprintln(w, "  ! "+e)
	}
	return nil
}

// printable returns a value that a terminal shows and does not obey: text comes
// from whoever sends.
func printable(value any) any {
	s, ok := value.(string)
	if ok && strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return value
}
