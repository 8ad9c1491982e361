package query

import (
	"slices"
	"time"

	"flowtally/filter"
)

// EventsQuestion asks for what firewalls and translators did.
type EventsQuestion struct {
	// From and To are the range of their times, To not included.
	From, To time.Time
	// Exporter is an exporter's name, address or id, empty for all.
	Exporter string
	// Filter is of filter.ParseEvents, nil for all.
	Filter *filter.Filter
	// Limit is how many events to list, 0 being DefaultFlows and MaxLimit the most; the
	// latest first unless Ascending.
	Limit     int
	Ascending bool
	// After is the Next of the page before, empty for the first.
	After string
	// Zone is whose times are meant, nil for UTC.
	Zone *time.Location
	// Timeout bounds the question, 0 is store.DefaultTimeout.
	Timeout time.Duration
}

// EventColumn is a column of the view events.
type EventColumn struct {
	// Name is its name in SQL, Type its type there.
	Name, Type string
	// Null says that it can be null.
	Null bool
}

// EventTable is the columns of the view events, in order.
var EventTable = []EventColumn{
	{"time", "timestamptz", false}, {"received_at", "timestamptz", false}, {"kind", "text", false},
	{"exporter", "text", true}, {"exporter_id", "int", false}, {"exporter_addr", "inet", true}, {"observation_domain", "bigint", true},
	{"src_addr", "inet", true}, {"dst_addr", "inet", true}, {"src_port", "int", true}, {"dst_port", "int", true},
	{"protocol", "smallint", true}, {"icmp_type", "smallint", true}, {"icmp_code", "smallint", true},
	{"nat_src_addr", "inet", true}, {"nat_dst_addr", "inet", true}, {"nat_src_port", "int", true}, {"nat_dst_port", "int", true},
	{"block_first", "int", true}, {"block_last", "int", true}, {"user_name", "text", true},
	{"in_if", "bigint", true}, {"out_if", "bigint", true},
	{"firewall_event", "smallint", true}, {"nat_event", "smallint", true},
	{"extra", "jsonb", true}, {"batch", "int", false}, {"marks", "smallint", false},
}

// EventColumns are the names of the columns that Events lists.
var EventColumns = func() []string {
	names := make([]string, len(EventTable))
	for i, c := range EventTable {
		names[i] = c.Name
	}
	return names
}()

// Events is a page of events.
type Events struct {
	From, To  time.Time
	Limit     int
	Ascending bool
	// Columns are EventColumns; each row has one value for each: nil, int64, string,
	// time.Time or json.RawMessage.
	Columns []string
	Rows    [][]any
	// Next asks for the next page, empty when this is the last.
	Next string
	Provenance
}

// Time returns when the event of a row happened.
func (e *Events) Time(row int) time.Time {
	t, _ := e.Rows[row][slices.Index(e.Columns, "time")].(time.Time)
	return t
}
