package meter

import (
	"unsafe"

	"flowtally/flow"
)

// MaxFlows is the largest Config.MaxFlows.
const MaxFlows = 1 << 28

// Memory returns how many bytes a Process of the Config takes for its flows.
func (c Config) Memory() uint64 {
	c = c.withDefaults()
	n := uint64(c.MaxFlows)
	bytes := n * uint64(unsafe.Sizeof(entry{})+unsafe.Sizeof(link{}))
	bytes += uint64(tableSize(c.MaxFlows)) * uint64(unsafe.Sizeof(uint64(0)))
	if c.Details {
		bytes += n * uint64(unsafe.Sizeof(flow.Details{}))
	}
	return bytes
}
