package collector

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/netflow"
)

// metrics are the collector's own counters. Labels are fixed words.
type metrics struct {
	datagrams, records, stored, readErrors, timeRepaired, kernelDrops    prometheus.Counter
	evicted, withdrawals, held, recovered, refused, connErrors, reloaded prometheus.Counter
	undecodedSets, dropped, refusedConns                                 *prometheus.CounterVec
	losses                                                               *prometheus.CounterVec
	events, storedEvents                                                 prometheus.Counter
	droppedEvents                                                        *prometheus.CounterVec
	writeSeconds                                                         prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "flowtally", Subsystem: "collector", Name: name, Help: help})
	}
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "flowtally", Subsystem: "collector", Name: name, Help: help}, []string{"cause"})
	}
	m := &metrics{
		datagrams:    counter("datagrams_total", "Datagrams received."),
		records:      counter("records_total", "Flow records decoded."),
		stored:       counter("stored_records_total", "Flow records the store made durable."),
		events:       counter("events_total", "Events of firewalls and translators decoded."),
		storedEvents: counter("stored_events_total", "Events the store made durable."),
		readErrors:   counter("read_errors_total", "Reads of a socket that failed."),
		timeRepaired: counter("time_repaired_records_total", "Flow records whose times were impossible and were repaired."),
		kernelDrops:  counter("kernel_dropped_datagrams_total", "Datagrams the kernel dropped because the receive buffer was full."),
		evicted:      counter("evicted_templates_total", "Templates that gave way to newer ones at a limit."),
		withdrawals:  counter("template_withdrawals_total", "Template withdrawals received, which are not obeyed over UDP."),
		held:         counter("held_sets_total", "Data sets kept until their template comes."),
		recovered:    counter("recovered_sets_total", "Data sets that were kept and decoded when their template came."),
		reloaded:     counter("reloaded_templates_total", "Templates that were taken over from an earlier run."),
		refused:      counter("refused_datagrams_total", "Datagrams of addresses that may not send."),
		connErrors:   counter("connection_errors_total", "TCP and TLS connections that ended with an error."),
		refusedConns: vec("refused_connections_total", "TCP and TLS connections that were closed when they came, by cause."),
		losses: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "flowtally", Subsystem: "collector", Name: "loss_total",
			Help: "What the ledger has, of all exporters, by stage, cause and unit."}, []string{"stage", "cause", "unit"}),
		undecodedSets: vec("undecoded_total", "Sets, or NetFlow v5 records, that were received and not decoded, by cause; with cause version, datagrams."),
		droppedEvents: vec("dropped_events_total", "Events decoded and not stored, by cause."),
		dropped:       vec("dropped_records_total", "Flow records decoded and not stored, by cause."),
		writeSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "flowtally", Subsystem: "collector", Name: "write_seconds",
			Help: "How long the store took for a batch.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}),
	}
	for _, c := range []string{causeVersion, causeMalformed, causeNoTemplate, causeOverLimit} {
		m.undecodedSets.WithLabelValues(c)
	}
	for _, c := range []string{causeTooManyExporters, causeRateLimit, causeQueueFull, causeRefused, causeStopped} {
		m.dropped.WithLabelValues(c)
		m.droppedEvents.WithLabelValues(c)
	}
	for _, c := range []string{causeNotAllowed, causeTooMany} {
		m.refusedConns.WithLabelValues(c)
	}
	if reg != nil {
		reg.MustRegister(m.reloaded, m.held, m.recovered, m.refused, m.connErrors, m.refusedConns, m.losses, m.datagrams, m.records, m.stored, m.events, m.storedEvents, m.droppedEvents, m.readErrors, m.timeRepaired, m.kernelDrops, m.evicted, m.withdrawals, m.undecodedSets, m.dropped, m.writeSeconds)
	}
	return m
}

// watch adds the gauges that are read when somebody asks.
func (m *metrics) watch(reg prometheus.Registerer, p *process) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "flowtally", Subsystem: "collector", Name: name, Help: help}, f))
	}
	gauge("queued_batches", "Batches that wait for a writer.", func() float64 { return float64(len(p.queue)) })
	gauge("exporters", "Exporters known.", func() float64 { return float64(p.ledger.known()) })
	gauge("connections", "TCP and TLS connections that there are.", func() float64 { return float64(p.places[false].taken() + p.places[true].taken()) })
	gauge("receive_buffer_bytes", "Octets of receive buffer that the kernel granted, of all sockets.", func() float64 { return float64(p.granted) })
}

// booked counts the losses of a report that is delivered.
func (m *metrics) booked(list []flow.Loss) {
	for i := range list {
		l := &list[i]
		m.losses.WithLabelValues(l.Stage, l.Cause, l.Unit).Add(float64(l.Count))
	}
}

// undecoded counts what a datagram held that could not be decoded.
func (m *metrics) undecoded(msg *netflow.Message, err error) {
	if errors.Is(err, netflow.ErrVersion) {
		m.undecodedSets.WithLabelValues(causeVersion).Inc()
		return
	}
	m.undecodedSets.WithLabelValues(causeNoTemplate).Add(float64(msg.NoTemplate))
	m.undecodedSets.WithLabelValues(causeMalformed).Add(float64(msg.Malformed))
	m.undecodedSets.WithLabelValues(causeOverLimit).Add(float64(msg.OverLimit))
}
