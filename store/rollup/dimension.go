package rollup

// Dimension is what a roll-up's row is a sum over. The order is that of the type
// traffic_dimension.
type Dimension uint8

const (
	DimTotal Dimension = iota
	DimSrcAddr
	DimDstAddr
	DimPair
	DimSrcPort
	DimDstPort
	DimInIf
	DimOutIf
	DimSrcAS
	DimDstAS
	// Of flows whose two sides are equal, also when neither is said: who asks about
	// either side takes them off once.
	DimSameAddr
	DimSamePort
	DimSameIf
	DimSameAS
	DimensionCount
)

var DimensionNames = [DimensionCount]string{"total", "src_addr", "dst_addr", "pair", "src_port", "dst_port", "in_if", "out_if", "src_as", "dst_as",
	"same_addr", "same_port", "same_if", "same_as"}
