package node

import (
	"errors"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"quorate/cluster"
	"quorate/fsm"
	"quorate/fsm/ledger"
	"quorate/limiter"
	"quorate/limiter/bucket"
)

// metrics is rest.Metrics on a registry of the node's own.
type metrics struct {
	registry *prometheus.Registry
	checks   [bucket.NumReasons]prometheus.Counter
	duration prometheus.Histogram
	entries  *prometheus.CounterVec
}

func newMetrics(id string, c *cluster.Node, m *fsm.Machine, r *limiter.Router, l *limiter.Local) *metrics {
	out := &metrics{registry: prometheus.NewRegistry()}
	checks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "quorate_checks_total", Help: "Checks answered by this node, by reason.",
	}, []string{"reason"})
	for reason := range out.checks {
		out.checks[reason] = checks.WithLabelValues(bucket.Reason(reason).String())
	}
	out.duration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "quorate_check_duration_seconds", Help: "From a check read to its answer made.",
		Buckets: []float64{10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1},
	})
	out.entries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "quorate_ledger_entries_total", Help: "Ledger entries asked of this node, by type and outcome.",
	}, []string{"type", "outcome"})
	counter := func(name, help string, v func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, v)
	}
	gauge := func(name, help string, v func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, v)
	}
	out.registry.MustRegister(
		checks, out.duration, out.entries,
		counter("quorate_forwarded_total", "Checks that another node decided.", func() float64 { return float64(r.Forwarded.Load()) }),
		counter("quorate_degraded_total", "Checks that someone other than the owner decided.", func() float64 { return float64(r.Degraded.Load()) }),
		counter("quorate_state_diverged_total", "Times another node's state was found to differ from this one's.", func() float64 { return float64(c.Diverged.Load()) }),
		gauge("quorate_applied_index", "Log index applied.", func() float64 { return float64(m.Index()) }),
		gauge("quorate_owner_epoch", "Epoch of the ownership map.", func() float64 { return float64(m.Map().Epoch) }),
		gauge("quorate_partitions_owned", "Partitions that this node owns.", func() float64 { return float64(m.Map().Owned()[id]) }),
		gauge("quorate_accounts_with_buckets", "Accounts that have buckets on this node.", func() float64 { return float64(l.Len()) }),
		gauge("quorate_reservations", "Reservations that can be settled at this node.", func() float64 { live, _ := l.Reserved(); return float64(live) }),
		counter("quorate_settlements_total", "Settlements and releases that changed a bucket of this node.", func() float64 { _, settled := l.Reserved(); return float64(settled) }),
		gauge("quorate_has_leader", "1 while a leader is known.", func() float64 {
			if c.HasLeader() {
				return 1
			}
			return 0
		}),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return out
}

// Write is rest.Metrics.
func (m *metrics) Write(w io.Writer) error {
	families, err := m.registry.Gather()
	e := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		err = errors.Join(err, e.Encode(f))
	}
	return err
}

// Checked is rest.Metrics.
func (m *metrics) Checked(reason bucket.Reason, seconds float64) {
	m.checks[reason].Inc()
	m.duration.Observe(seconds)
}

// Entered is rest.Metrics.
func (m *metrics) Entered(t ledger.EntryType, outcome string) {
	m.entries.WithLabelValues(t.String(), outcome).Inc()
}
