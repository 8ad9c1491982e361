package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a Writer counts. None has a label: what a stranger sends must
// not make a time series.
type metrics struct {
	batches, records, clamped, repaired, noRoom   prometheus.Counter
	retries, replays                              prometheus.Counter
	refusedBatches, refusedRecords, exporterClash prometheus.Counter
	up                                            prometheus.Gauge
	seconds                                       prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, partitions func() int) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "flowtally", Subsystem: "store", Name: name, Help: help})
	}
	m := &metrics{
		batches:        counter("batches_total", "Batches committed."),
		records:        counter("records_total", "Records committed."),
		clamped:        counter("clamped_records_total", "Records with a value that did not fit its column."),
		repaired:       counter("repaired_records_total", "Records whose times were repaired on the way into the store."),
		noRoom:         counter("partition_limit_records_total", "Records given their time of receipt, because there was no room for their hour."),
		retries:        counter("retries_total", "Attempts to store a batch that failed and were repeated."),
		replays:        counter("replays_total", "Batches found stored already when they were sent again."),
		refusedBatches: counter("refused_batches_total", "Batches the database refused for their content."),
		refusedRecords: counter("refused_records_total", "Records in refused batches."),
		exporterClash:  counter("exporter_collisions_total", "Exporters refused because another one has their identifier."),
		up: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "flowtally", Subsystem: "store", Name: "up",
			Help: "1 when the last attempt to store something succeeded."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "flowtally", Subsystem: "store", Name: "write_seconds",
			Help: "From the first attempt to store a batch until it is durable.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(m.batches, m.records, m.clamped, m.repaired, m.noRoom, m.retries, m.replays,
		m.refusedBatches, m.refusedRecords, m.exporterClash, m.up, m.seconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "flowtally", Subsystem: "store", Name: "partitions",
			Help: "Hourly partitions this process knows of."}, func() float64 { return float64(partitions()) }))
	return m
}

// wrote counts a batch that is durable.
func (m *metrics) wrote(b *batch, took time.Duration) {
	m.batches.Inc()
	m.records.Add(float64(b.records))
	m.clamped.Add(float64(b.clamped))
	m.repaired.Add(float64(b.repaired))
	m.noRoom.Add(float64(b.noRoom))
	m.seconds.Observe(took.Seconds())
}
