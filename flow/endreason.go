package flow

import "strconv"

// EndReason says why a flow ended (IANA flowEndReason, RFC 5102 §5.11.3).
type EndReason uint8

// The reasons; 0 is "not said".
const (
	EndIdleTimeout     EndReason = 1
	EndActiveTimeout   EndReason = 2
	EndOfFlow          EndReason = 3
	EndForced          EndReason = 4
	EndLackOfResources EndReason = 5
)

// String returns the registry's wording in short.
func (r EndReason) String() string {
	switch r {
	case 0:
		return ""
	case EndIdleTimeout:
		return "idle timeout"
	case EndActiveTimeout:
		return "active timeout"
	case EndOfFlow:
		return "end of flow"
	case EndForced:
		return "forced end"
	case EndLackOfResources:
		return "lack of resources"
	}
	return strconv.Itoa(int(r))
}
