package keeper

import (
	"github.com/prometheus/client_golang/prometheus"
)

// keeperMetrics are what a Keeper counts.
type keeperMetrics struct {
	batches, records, handed, missing, seconds, settled prometheus.Counter
	sealed, removed, waits, failures                    prometheus.Counter
	behind, size, limit                                 prometheus.Gauge
}

func newKeeperMetrics(r prometheus.Registerer) *keeperMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "flowtally", Subsystem: "keeper", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "flowtally", Subsystem: "keeper", Name: name, Help: help})
	}
	m := &keeperMetrics{
		batches:  counter("summed_batches_total", "Batches summed into the roll-ups."),
		records:  counter("summed_records_total", "Records summed into the roll-ups."),
		handed:   counter("handed_records_total", "Of these, records that the writer of the same process handed over, so that they were not read back."),
		missing:  counter("missing_records_total", "Records of batches that could not be summed, because their partition was removed before."),
		seconds:  counter("sum_seconds_total", "Time spent summing."),
		settled:  counter("settled_buckets_total", "Buckets of roll-ups settled."),
		sealed:   counter("sealed_partitions_total", "Partitions given indexes and statistics."),
		removed:  counter("removed_partitions_total", "Partitions removed by retention."),
		waits:    counter("waits_total", "Times the sealing or removal of a partition was put off because somebody was reading."),
		failures: counter("failures_total", "Rounds of work that failed and are tried again."),
		behind:   gauge("behind_seconds", "Age of the oldest batch that is not summed, 0 when all are."),
		size:     gauge("database_bytes", "Size of the database."),
		limit:    gauge("database_limit_bytes", "Size beyond which the oldest flows go, 0 when only their age counts."),
	}
	if r != nil {
		r.MustRegister(m.batches, m.records, m.handed, m.missing, m.seconds, m.settled, m.sealed, m.removed, m.waits, m.failures, m.behind, m.size, m.limit)
	}
	return m
}
