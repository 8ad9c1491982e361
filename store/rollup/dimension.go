package rollup

// Dimension says which field of a flow a value of a summary is of. The order is that of
// PostgreSQL's type traffic_dimension.
type Dimension uint8

// The dimensions. Those of flows whose two sides are equal, also when neither is known,
// are for questions about either side: both sides counted such a flow.
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
	DimSameAddr
	DimSamePort
	DimSameIf
	DimSameAS
	// DimensionCount is how many dimensions there are.
	DimensionCount
)

// DimensionNames are the labels of PostgreSQL's type traffic_dimension.
var DimensionNames = [DimensionCount]string{"total", "src_addr", "dst_addr", "pair", "src_port", "dst_port", "in_if", "out_if", "src_as", "dst_as",
	"same_addr", "same_port", "same_if", "same_as"}
