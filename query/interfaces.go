package query

import (
	"flowtally/flow"
)

// InterfaceSums is what went by one interface of an exporter.
type InterfaceSums struct {
	ExporterID flow.ExporterID
	IfIndex    int64
	In, Out    Sums
}
