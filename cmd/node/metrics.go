package node

import (
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"quorate/api/auth"
	"quorate/cluster"
	"quorate/fsm"
	"quorate/fsm/ledger"
	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/exchange"
)

// metrics implements rest.Metrics on a registry of this node.
type metrics struct {
	registry *prometheus.Registry
	checks   [bucket.NumReasons]prometheus.Counter
	duration prometheus.Histogram
	entries  *prometheus.CounterVec
}

// sources are the parts of a node that its metrics are read from.
type sources struct {
	nodeID   string
	cluster  *cluster.Node
	machine  *fsm.Machine
	router   *limiter.Router
	local    *limiter.Local
	exchange *exchange.Exchange
	certs    *certificates // nil: no TLS
	keeper   *auth.Keeper
}

func newMetrics(from *sources) *metrics {
	c, m, r, l, e := from.cluster, from.machine, from.router, from.local, from.exchange
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
		gauge("quorate_partitions_owned", "Partitions that this node owns.", func() float64 { return float64(m.Map().Owned()[from.nodeID]) }),
		gauge("quorate_partitions_leased", "Partitions that this node holds a lease on.", func() float64 { return float64(c.Leases()) }),
		gauge("quorate_partitions_incomplete", "Partitions of this node's that lack a whole copy at a successor.", func() float64 { return float64(l.Incomplete()) }),
		counter("quorate_replication_bounds_total", "Usage bounds sent to copies.", func() float64 { return float64(e.Bounds.Load()) }),
		counter("quorate_replication_messages_total", "Messages that carried usage bounds.", func() float64 { return float64(e.Messages.Load()) }),
		counter("quorate_replication_lost_total", "Usage bounds that no copy confirmed in time.", func() float64 { return float64(e.Unconfirmed.Load()) }),
		gauge("quorate_replication_lag_seconds", "Time from sending the last usage bounds to their confirmation.", func() float64 { return time.Duration(e.Lag.Load()).Seconds() }),
		counter("quorate_fallback_units_total", "Units that this node admitted as the fallback of owners.", func() float64 { return float64(l.FallbackUnits.Load()) }),
		counter("quorate_absorbed_units_total", "Units that fallback nodes admitted and that this owner has added to its buckets.", func() float64 { return float64(l.AbsorbedUnits.Load()) }),
		counter("quorate_forgiven_units_total", "Units that settlements reported above their reservations, beyond a debt of ten bursts.", func() float64 { return float64(l.ForgivenUnits.Load()) }),
		replicas{l},
		gauge("quorate_accounts_with_buckets", "Accounts that have buckets on this node.", func() float64 { return float64(l.Len()) }),
		gauge("quorate_reservations", "Reservations that can be settled at this node.", func() float64 { live, _ := l.Reserved(); return float64(live) }),
		counter("quorate_settlements_total", "Settlements and releases that changed a bucket of this node.", func() float64 { _, settled := l.Reserved(); return float64(settled) }),
		gauge("quorate_has_leader", "1 while a leader is known.", func() float64 {
			if c.HasLeader() {
				return 1
			}
			return 0
		}),
		counter("quorate_unknown_tokens_total", "Requests with an unknown token.", func() float64 { return float64(from.keeper.Unknown.Load()) }),
		counter("quorate_peers_refused_total", "Connections to the peer port and packets of gossip that were refused.", func() float64 { return float64(c.Refused()) }),
		gauge("quorate_certificate_expires_seconds", "When this node's certificate expires, in seconds since 1970; 0 without one.", func() float64 {
			if from.certs == nil {
				return 0
			}
			return float64(from.certs.current.Load().expires.Unix())
		}),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return out
}

// replicas collects the metrics that are computed by one iteration over the buckets.
type replicas struct{ local *limiter.Local }

var (
	streams   = prometheus.NewDesc("quorate_replication_buckets", "Buckets of this node that are published to copies.", nil, nil)
	copies    = prometheus.NewDesc("quorate_copies", "Copies of other owners' buckets.", nil, nil)
	fallbacks = prometheus.NewDesc("quorate_fallback_buckets", "Buckets that this node has decided as the fallback of their owner.", nil, nil)
	ahead     = prometheus.NewDesc("quorate_replication_ahead_units", "The most units by which a bucket is ahead of its better copy; the slack bounds it.", nil, nil)
)

// Describe implements prometheus.Collector.
func (r replicas) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, to) }

// Collect implements prometheus.Collector.
func (r replicas) Collect(to chan<- prometheus.Metric) {
	s := r.local.Stats()
	for d, v := range map[*prometheus.Desc]int64{streams: int64(s.Streams), copies: int64(s.Copies), fallbacks: int64(s.Fallbacks), ahead: s.Ahead} {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
}

// Write implements rest.Metrics.
func (m *metrics) Write(w io.Writer) error {
	families, err := m.registry.Gather()
	e := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		err = errors.Join(err, e.Encode(f))
	}
	return err
}

// Checked implements rest.Metrics.
func (m *metrics) Checked(reason bucket.Reason, seconds float64) {
	m.checks[reason].Inc()
	m.duration.Observe(seconds)
}

// Entered implements rest.Metrics.
func (m *metrics) Entered(t ledger.EntryType, outcome string) {
	m.entries.WithLabelValues(t.String(), outcome).Inc()
}
