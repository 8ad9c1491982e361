package netflow

import "flowtally/flow"

// Sampling is what an operator says of an exporter's sampling.
type Sampling struct {
	// Rate is N of 1:N, 0 when nothing is said. It is that of the records whose
	// rate the exporter does not announce.
	Rate uint32
	// Override says that Rate holds whatever is announced: for exporters that
	// announce what is not so.
	Override bool
}

// SetSampling tells the decoder what is configured: of is asked once for each
// datagram, by several goroutines at once. nil, as at the start, is "nothing".
// The order is: an override; else the record's own rate; else that of its
// sampler, its interface or its domain from options, or v5's header; else what
// is configured; else 0, unknown.
func (d *Decoder) SetSampling(of func(flow.Exporter) Sampling) {
	if of == nil {
		d.sampling.Store(nil)
		return
	}
	d.sampling.Store(&of)
}

// configure applies what is configured to the records of a message.
func (s Sampling) configure(recs []flow.Record) {
	if s.Rate == 0 {
		return
	}
	for i := range recs {
		if r := &recs[i]; s.Override || r.SamplingRate == 0 {
			r.SamplingRate = s.Rate
		}
	}
}
