package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a Writer counts. None has a label: what a stranger sends must
// not make a time series.
type metrics struct {
	batches, records, clamped, repaired, noRoom   prometheus.Counter
	events                                        prometheus.Counter
	retries, replays                              prometheus.Counter
	refusedBatches, refusedRecords, exporterClash prometheus.Counter
	spooledBatches, spooledRecords                prometheus.Counter
	drainedBatches, drainedRecords                prometheus.Counter
	droppedBatches, droppedRecords                prometheus.Counter
	quarantinedRecords, badFiles, spoolErrors     prometheus.Counter
	seconds                                       prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, w *Writer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "flowtally", Subsystem: "store", Name: name, Help: help})
	}
	m := &metrics{
		batches:            counter("batches_total", "Batches committed."),
		records:            counter("records_total", "Records committed."),
		events:             counter("events_total", "Events committed."),
		clamped:            counter("clamped_records_total", "Records with a value that did not fit its column."),
		repaired:           counter("repaired_records_total", "Records whose times were repaired before they were stored."),
		noRoom:             counter("partition_limit_records_total", "Records given their time of receipt, because their exporter sent flows of too many hours that are past, or their hour would have exceeded the limit of partitions."),
		retries:            counter("retries_total", "Attempts to store a batch that failed and were repeated."),
		replays:            counter("replays_total", "Batches found stored already when they were sent again."),
		refusedBatches:     counter("refused_batches_total", "Batches the database refused for their content."),
		refusedRecords:     counter("refused_records_total", "Records in refused batches."),
		exporterClash:      counter("exporter_collisions_total", "Exporters refused because another one has their identifier."),
		spooledBatches:     counter("spooled_batches_total", "Batches written to the spool, because the database did not store them."),
		spooledRecords:     counter("spooled_records_total", "Records in spooled batches."),
		drainedBatches:     counter("spool_stored_batches_total", "Batches of the spool that the database has stored since."),
		drainedRecords:     counter("spool_stored_records_total", "Records in these batches."),
		droppedBatches:     counter("spool_dropped_batches_total", "Batches dropped because the spool was full: lost."),
		droppedRecords:     counter("spool_dropped_records_total", "Records in these batches: lost."),
		quarantinedRecords: counter("quarantined_records_total", "Refused records that are kept in the spool's quarantine."),
		badFiles:           counter("spool_bad_files_total", "Files of the spool that could not be read and were kept under another name."),
		spoolErrors:        counter("spool_errors_total", "Attempts to write a batch to the spool that failed."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "flowtally", Subsystem: "store", Name: "write_seconds",
			Help: "From the first attempt to store a batch until it is durable.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(m.batches, m.records, m.events, m.clamped, m.repaired, m.noRoom, m.retries, m.replays,
		m.refusedBatches, m.refusedRecords, m.exporterClash, m.seconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "flowtally", Subsystem: "store", Name: "up",
			Help: "1 while what is received is stored, 0 while some of it cannot be."}, func() float64 {
			if w.Health() != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "flowtally", Subsystem: "store", Name: "partitions",
			Help: "Partitions of flows this process knows of."}, func() float64 { return float64(w.partitions.Count()) }))
	r.MustRegister(m.spooledBatches, m.spooledRecords, m.drainedBatches, m.drainedRecords, m.droppedBatches, m.droppedRecords,
		m.quarantinedRecords, m.badFiles, m.spoolErrors)
	for _, g := range []struct {
		name, help string
		of         func(files int, bytes int64, age time.Duration) float64
	}{
		{"spool_batches", "Batches that wait in the spool.", func(n int, _ int64, _ time.Duration) float64 { return float64(n) }},
		{"spool_octets", "Bytes the spool takes on disk, without its quarantine.", func(_ int, n int64, _ time.Duration) float64 { return float64(n) }},
		{"spool_age_seconds", "How long the oldest batch has been in the spool, 0 when there is none.", func(_ int, _ int64, d time.Duration) float64 { return d.Seconds() }},
	} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "flowtally", Subsystem: "store", Name: g.name, Help: g.help},
			func() float64 { return g.of(w.spool.waiting()) }))
	}
	return m
}

// wrote counts a batch that the database stored.
func (m *metrics) wrote(b *batch, took time.Duration) {
	m.batches.Inc()
	m.records.Add(float64(b.records))
	m.events.Add(float64(b.events))
	m.clamped.Add(float64(b.clamped))
	m.repaired.Add(float64(b.repaired))
	m.noRoom.Add(float64(b.noRoom))
	m.seconds.Observe(took.Seconds())
}
