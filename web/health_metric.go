package web

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flowtally/store/console"
)

// healthMetric counts, when it is asked, the exporters by the word that the list has for
// them, so that whoever watches the numbers sees what whoever watches the page does.
type healthMetric struct {
	exporters ExporterStore
	log       *slog.Logger
	desc      *prometheus.Desc
}

// scrapePatience is how long who scrapes waits for the database.
const scrapePatience = 5 * time.Second

func newHealthMetric(exporters ExporterStore, log *slog.Logger) *healthMetric {
	return &healthMetric{exporters, log, prometheus.NewDesc("flowtally_web_exporters",
		"Exporters, by the word for how each fares in the list: healthy, silent, losing, waiting and so on.", []string{"health"}, nil)}
}

// Describe implements prometheus.Collector.
func (m *healthMetric) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc }

// Collect implements prometheus.Collector. While the database is away there are no numbers:
// the last ones would look like news.
func (m *healthMetric) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	states, err := m.exporters.ExporterStates(ctx)
	if err != nil {
		m.log.Debug("the exporters' health was not counted", "error", err)
		return
	}
	n := make(map[console.Health]int)
	for _, s := range states {
		n[console.HealthOf(s.Findings)]++
	}
	for _, h := range console.Healths() {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, float64(n[h]), string(h))
	}
}
