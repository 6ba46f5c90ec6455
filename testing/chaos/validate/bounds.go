package validate

import (
	"cmp"
	"slices"
	"time"

	"quorate/testing/chaos/model"
)

// allowance computes what the faults of a run may have cost one bucket. Intervals must
// be passed in the order of their starts, and those with one start in the order of
// their ends: an hour has too many intervals to compute each on its own.
type allowance struct {
	burst  float64
	items  []item
	events []event // by time

	from     time.Duration
	next     int     // event
	sum      float64 // of the faults met so far
	peak     float64 // of the interval before
	forgiven float64 // by heals of faults that have been paid back
	meets    int
	latest   int // of the faults met
}

// item is the cost of one fault.
type item struct {
	start, over   time.Duration
	full, reduced float64 // before and after it has been paid back
	peak          float64 // as it was when the fault was over
}

type event struct {
	at   time.Duration
	item int
	what change
}

// change is a change of the state of a fault.
type change int

const (
	begins change = iota
	over
	paid
)

const forEver = time.Duration(1<<63 - 1)

func newAllowance(h *model.History, b *model.Bucket, faults []*model.Fault) *allowance {
	a := &allowance{burst: b.Burst, from: -1}
	for i, f := range faults {
		it := item{start: f.Start, over: f.Over, full: Bound(h, b, f) + together(h, b, faults, i)}
		if it.over == 0 {
			it.over = forEver
		}
		a.events = append(a.events, event{f.Start, i, begins})
		if it.over < forEver && b.Window == 0 && payable(faults, f) {
			it.reduced = min(it.full, unstated(h, b))
			a.events = append(a.events, event{f.Over, i, over}, event{f.Over + time.Duration(it.full/b.Rate*float64(time.Second)), i, paid})
		}
		a.items = append(a.items, it)
	}
	slices.SortStableFunc(a.events, func(x, y event) int { return cmp.Compare(x.at, y.at) })
	return a
}

// of returns the over-admission that is allowed in an interval. peak is the most that
// the bucket was above its ideal at any time in it.
func (a *allowance) of(from, to time.Duration, peak float64) float64 {
	if from != a.from {
		a.from, a.next, a.sum, a.peak, a.forgiven, a.meets, a.latest = from, 0, 0, 0, 0, 0, -1
	}
	for ; a.next < len(a.events) && a.events[a.next].at <= to; a.next++ {
		e := a.events[a.next]
		it := &a.items[e.item]
		switch {
		case it.over < from:
		case e.what == begins:
			a.sum += it.full
			a.meets++
			a.latest = e.item
		case e.what == over:
			it.peak = a.peak
		case from < it.start:
			a.sum += it.reduced - it.full
			// After a heal a bucket owes two bursts at most: the rest is forgiven.
			a.forgiven = max(a.forgiven, it.peak-a.burst)
		}
	}
	a.peak = peak
	return a.sum + a.forgiven
}

// only returns the position of the fault that the last interval meets if there is just
// one, else -1.
func (a *allowance) only() int {
	if a.meets != 1 {
		return -1
	}
	return a.latest
}

// together returns what a fault may cost beyond its own bound because of others at the
// same time: the replicas for a takeover, the fallback nodes or a majority may be gone.
func together(h *model.History, b *model.Bucket, faults []*model.Fault, i int) (more float64) {
	f, struck := faults[i], map[string]bool{}
	if !disturbs(f) {
		return 0
	}
	n := float64(len(h.Nodes))
	others := 0
	from, to := f.Start, f.Over
	for k, g := range faults {
		if k == i || !disturbs(g) || !f.During(g.Start, g.Over) {
			continue
		}
		others++
		from, to = min(from, g.Start), max(to, g.Over)
		for _, node := range g.Nodes {
			struck[node] = struck[node] || strikes(g)
		}
	}
	if others == 0 {
		return 0
	}
	interim := max(1, b.Burst/10) + b.Rate/n*(to-from).Seconds()
	if strikes(f) && strikesOwner(b, f) {
		more += b.Burst
	} else {
		more += interim
	}
	if !strikes(f) {
		return more
	}
	for _, node := range f.Nodes {
		struck[node] = true
	}
	left := len(h.Nodes)
	for _, yes := range struck {
		if yes {
			left--
		}
	}
	if 2*left <= len(h.Nodes) { // each of the rest may be alone
		more += (n - 1) * interim
	}
	return more
}

// disturbs reports whether a fault affects nodes or links. Planned changes, and faults
// that affect only the ledger, do not.
func disturbs(f *model.Fault) bool {
	switch f.Kind {
	case model.Move, model.None, model.Clock, model.Disk:
		return false
	}
	return true
}

// strikes reports whether a fault stops its nodes, and not only their links.
func strikes(f *model.Fault) bool { return f.Kind != model.Loss && f.Kind != model.OneLink }

// payable reports whether what a fault let through is paid back, in an interval that
// began before it and ends when all that the bound allows has come back since. What a
// node admitted that died while the fault lasted nobody knows, and a whole death
// costs what it costs.
func payable(faults []*model.Fault, f *model.Fault) bool {
	switch f.Kind {
	case model.Kill, model.KillTwo, model.KillAll, model.DiskStop:
		return false
	}
	for _, g := range faults {
		if g.Kind != model.Move && len(g.Hurt) > 0 && g != f && g.During(f.Start, f.Over) {
			return false
		}
	}
	return true
}

// unstated returns what may stay unpaid: what fallback nodes admitted while the owner
// still had its lease, of a bucket that was never published, and the slack.
func unstated(h *model.History, b *model.Bucket) float64 {
	const lease = 2 * 1.25 // seconds, with what a grantor adds
	return max(1, b.Burst/20) + max(1, b.Burst/10) + b.Rate/float64(len(h.Nodes))*lease
}

// Bound returns the over-admission that one fault may cause in a bucket, in units. T is
// the time until the cluster was whole, S the slack of the default policy, I what a
// fallback node may admit, a share what a node without a majority may admit.
func Bound(h *model.History, b *model.Bucket, f *model.Fault) float64 {
	n := float64(len(h.Nodes))
	t := (f.Over - f.Start).Seconds()
	slack := max(1, b.Burst/20)
	interim := max(1, b.Burst/10) + b.Rate/n*t
	share := b.Burst/n + b.Rate/n*t
	owner := strikesOwner(b, f)
	switch f.Kind {
	case model.Kill:
		switch {
		case !owner:
			return 0
		case exhausted(b, f.Start):
			return 1
		}
		return slack
	case model.KillTwo, model.KillAll:
		return b.Burst
	case model.Freeze, model.Starve:
		if !owner {
			return 0
		}
		return slack + interim
	case model.DiskStop: // the node ends, or is stopped first
		if !owner {
			return 0
		}
		return slack + interim
	case model.CutOff:
		return slack + interim + float64(len(f.Nodes))*share
	case model.OneWay, model.Flapping:
		return slack + interim + share
	case model.NoMajority:
		return slack + (n-1)*interim
	case model.Loss:
		// Within the timeout of a hop a slow owner looks like a dead one, so fallback
		// nodes decide at the same time. The first successor has one budget, all others
		// together have another.
		return 2 * interim
	case model.Move:
		// Exact, unless neither node of the handoff answers within the timeout of a hop:
		// then a fallback node decides at the same time.
		return min(interim, inPlace(b, f))
	}
	return 0 // one link, a slow disk, wrong clocks, nothing at all
}

// inPlace returns what fallback nodes admitted while a fault lasted.
func inPlace(b *model.Bucket, f *model.Fault) (units float64) {
	for _, a := range b.Admits {
		if a.Degraded && f.During(a.Asked, a.Answered) {
			units += float64(a.Units)
		}
	}
	return units
}

// strikesOwner reports whether a fault affects the owner of the bucket, if it is known.
func strikesOwner(b *model.Bucket, f *model.Fault) bool {
	owner := b.OwnerAt(f.Start)
	return owner == "" || slices.Contains(f.Nodes, owner)
}

// exhausted reports whether the owner had denied for a tenth of a second before an
// instant, so that its replicas know.
func exhausted(b *model.Bucket, at time.Duration) bool {
	for _, d := range b.Denials {
		if d >= at-2*time.Second && d <= at-100*time.Millisecond {
			return true
		}
	}
	return false
}
