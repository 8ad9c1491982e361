package query

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"flowtally/flow"
)

// Value is what one key is in one group.
type Value struct {
	// Column is the key's name in SQL, JSON and CSV: src_addr.
	Column string
	// V is a string for addresses and exporters, an int64 for numbers, nil
	// when the flows of the group do not carry the value: ICMP has no ports.
	V any
	// Label is V as people read it: "tcp", "...AP.SF", "AS64500"; "none" for
	// what is absent. Of an interface it is Name, when there is one.
	Label string
	// NameColumn is what answers call Name, which is what people call an interface, or its
	// exporter, "" when nobody has said it. Both are "" for a key whose values have no names.
	NameColumn, Name string
}

// absent is the label of a value that the flows do not carry.
const absent = "none"

// Number turns the number of a scanned column into the Value of a key; nil is NULL.
func (c KeyColumn) Number(n *int64) Value {
	if n == nil {
		return Value{Column: c.Column, Label: absent}
	}
	v := Value{Column: c.Column, V: *n}
	if c.valueName != nil && *n >= 0 {
		v.Label = c.valueName(uint64(*n))
	}
	if v.Label != "" {
		return v
	}
	switch c.Kind {
	case KindProtocol:
		v.Label = flow.Protocol(uint8(*n)).String()
		if *n < 0 || *n > 255 {
			v.Label = strconv.FormatInt(*n, 10)
		}
	case flow.KindFlags:
		v.Label = flow.TCPFlags(uint16(*n)).String()
		if *n < 0 || *n > 0xff {
			// The letters stand for eight bits; two groups must not look alike.
			v.Label = fmt.Sprintf("0x%03x", *n)
		}
	case flow.KindAS:
		v.Label = "AS" + strconv.FormatInt(*n, 10)
	case flow.KindTOS:
		v.Label = fmt.Sprintf("0x%02x", *n)
	default:
		v.Label = strconv.FormatInt(*n, 10)
	}
	return v
}

// Named does the same for a number that has a name beside it; nil is no name.
func (c KeyColumn) Named(n *int64, name *string) Value {
	v := c.Number(n)
	v.NameColumn = c.NameColumn()
	if n != nil && name != nil && *name != "" {
		v.Name, v.Label = *name, *name
	}
	return v
}

// Text does the same for a text: an address, a MAC address, the name of an
// exporter or of an application.
func (c KeyColumn) Text(s *string) Value {
	if s == nil {
		return Value{Column: c.Column, Label: absent}
	}
	text := *s
	if c.Kind == KindAddr {
		// PostgreSQL and Go differ in how they write some IPv6 addresses.
		if a, err := netip.ParseAddr(text); err == nil {
			text = a.String()
		} else if p, err := netip.ParsePrefix(text); err == nil {
			text = p.String()
		}
	}
	v := Value{Column: c.Column, V: text, Label: text}
	if text == "" {
		v.Label = `""` // an application may be called so; a label must not be empty
	}
	return v
}

// JoinLabels is the label of a group of several keys: an arrow from the source
// to the destination, address and port in their usual form, commas otherwise.
func JoinLabels(columns []KeyColumn, values []Value) string {
	var b strings.Builder
	for i := 0; i < len(values); i++ {
		if i > 0 {
			before, this := columns[i-1].Column, columns[i].Column
			if strings.HasPrefix(before, "src_") && strings.HasPrefix(this, "dst_") || before == "in_if" && this == "out_if" {
				b.WriteString(" → ")
			} else {
				b.WriteString(", ")
			}
		}
		if i+1 < len(values) {
			if socket, ok := socketLabel(columns[i], values[i], columns[i+1], values[i+1]); ok {
				b.WriteString(socket)
				i++
				continue
			}
		}
		b.WriteString(values[i].Label)
	}
	return b.String()
}

// socketLabel joins an address and a port of the same side.
func socketLabel(a KeyColumn, av Value, p KeyColumn, pv Value) (string, bool) {
	if a.Kind != KindAddr || strings.Replace(a.Column, "addr", "port", 1) != p.Column || a.Column == p.Column {
		return "", false
	}
	text, ok := av.V.(string)
	port, ok2 := pv.V.(int64)
	if !ok || !ok2 || port < 0 || port > 65535 {
		return "", false
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return "", false
	}
	return netip.AddrPortFrom(addr, uint16(port)).String(), true
}
