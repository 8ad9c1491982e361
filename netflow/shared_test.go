package netflow

import (
	"net/netip"

	"flowtally/flow"
)

var somebody = netip.MustParseAddrPort("192.0.2.1:2055")

// noon is a time of export in tests: 2023-11-14 22:13:20 UTC.
const noon = flow.Time(1_700_000_000_000)
