package validate

import (
	"cmp"
	"slices"
	"time"

	"quorate/testing/chaos/model"
)

// allowance is what the faults of a run may have cost one bucket, for intervals
// that are looked at one after the other: those that begin alike by their ends. An
// hour has more of them than each could be looked at on its own.
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

// item is what one fault may have cost.
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

// change is what becomes of a fault.
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

// of returns what may have been admitted in an interval above its ideal. peak is the
// most by which the bucket was above its ideal at any time of it.
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
			// At a heal a bucket owes two bursts at most: what was above is forgiven.
			a.forgiven = max(a.forgiven, it.peak-a.burst)
		}
	}
	a.peak = peak
	return a.sum + a.forgiven
}

// only is the position of the one fault that the interval meets that was last asked
// for, else -1.
func (a *allowance) only() int {
	if a.meets != 1 {
		return -1
	}
	return a.latest
}

// together is what a fault may cost beyond its own bound because others last while
// it does: copies that a takeover would go by may be gone, or their holder cut off,
// and so may those that judge in an owner's place, or a majority.
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
	if 2*left <= len(h.Nodes) { // each of those left may be alone
		more += (n - 1) * interim
	}
	return more
}

// disturbs reports whether a fault hurts nodes or links: what was planned, and what
// only the ledger feels, do not.
func disturbs(f *model.Fault) bool {
	switch f.Kind {
	case model.Move, model.None, model.Clock, model.Disk:
		return false
	}
	return true
}

// strikes reports whether a fault takes its nodes away, and not only what they say
// to each other.
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

// unstated is what may stay unpaid: what stand-ins admitted beside an owner whose
// lease had not ended, of a bucket that was never stated, and the slack.
func unstated(h *model.History, b *model.Bucket) float64 {
	const lease = 2 * 1.25 // seconds, with what a grantor adds
	return max(1, b.Burst/20) + max(1, b.Burst/10) + b.Rate/float64(len(h.Nodes))*lease
}

// Bound is what one fault may cost a bucket, in units above its ideal. T is the
// time until the cluster was whole, S the slack of the default policy, I what a
// stand-in may admit, a share what a node without a majority may.
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
	case model.DiskStop: // the node ends, or stands still first
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
		// Nobody can tell a slow owner from a dead one within a hop's time-out, so
		// stand-ins judge beside it. Who should has one budget, all others together
		// another.
		return 2 * interim
	case model.Move:
		// Exact, but where neither who hands over nor who takes answers within a hop's
		// time a stand-in judges beside them.
		return min(interim, inPlace(b, f))
	}
	return 0 // one link, a slow disk, wrong clocks, nothing at all
}

// inPlace is what was admitted in the owner's place while a fault lasted.
func inPlace(b *model.Bucket, f *model.Fault) (units float64) {
	for _, a := range b.Admits {
		if a.Degraded && f.During(a.Asked, a.Answered) {
			units += float64(a.Units)
		}
	}
	return units
}

// strikesOwner reports whether a fault strikes the bucket's owner, as far as is
// known.
func strikesOwner(b *model.Bucket, f *model.Fault) bool {
	owner := b.OwnerAt(f.Start)
	return owner == "" || slices.Contains(f.Nodes, owner)
}

// exhausted reports whether the owner was denying by a tenth of a second before
// an instant, so that its copies know.
func exhausted(b *model.Bucket, at time.Duration) bool {
	for _, d := range b.Denials {
		if d >= at-2*time.Second && d <= at-100*time.Millisecond {
			return true
		}
	}
	return false
}
