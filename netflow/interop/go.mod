module flowtally/netflow/interop

go 1.26.0

require (
	flowtally v0.0.0
	github.com/calmh/ipfix v1.3.0
	github.com/netsampler/goflow2/v2 v2.2.6
)

require (
	gopkg.in/gcfg.v1 v1.2.3 // indirect
	gopkg.in/warnings.v0 v0.1.2 // indirect
)

replace flowtally => ../..
