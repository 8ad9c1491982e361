package answer

import (
	"flowtally/flow"
)

// Follow sets how many hosts of an hour a share follows, how much it leaves to
// others, and from how many minutes on, until the function it returns is called.
func Follow(few, most int, open float64, minutes flow.Time) (back func()) {
	was := following
	following = followLimits{few, most, open, minutes}
	return func() { following = was }
}
