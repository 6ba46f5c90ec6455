package validate

import (
	"slices"
	"time"

	"quorate/testing/chaos/model"
)

// bound is what the faults that meet an interval may have cost a bucket in it,
// above its ideal. peak is the most by which it was above its ideal at any time of
// the interval.
func bound(h *model.History, b *model.Bucket, faults []*model.Fault, from, to time.Duration, peak float64) (sum float64) {
	back := false
	for i, f := range faults {
		if !f.During(from, to) {
			continue
		}
		one := Bound(h, b, f) + together(h, b, faults, i)
		if paid(b, faults, f, one, from, to) {
			one, back = min(one, unstated(h, b)), true
		}
		sum += one
	}
	// At a heal a bucket owes two bursts at most: what was above is forgiven.
	if back {
		sum += max(0, peak-b.Burst)
	}
	return sum
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
			struck[node] = true
		}
	}
	if others == 0 {
		return 0
	}
	interim := max(1, b.Burst/10) + b.Rate/n*(to-from).Seconds()
	if strikesOwner(b, f) {
		more += b.Burst
	} else {
		more += interim
	}
	for _, node := range f.Nodes {
		struck[node] = true
	}
	if 2*(len(h.Nodes)-len(struck)) <= len(h.Nodes) { // each of those left may be alone
		more += (n - 1) * interim
	}
	return more
}

// disturbs reports whether a fault hurts nodes or links: what was planned, and what
// only the ledger feels, do not.
func disturbs(f *model.Fault) bool {
	switch f.Kind {
	case model.Move, model.None, model.Clock:
		return false
	}
	return true
}

// paid reports whether what a fault let through has been paid back within an
// interval: it began before the fault, and ended when all that the bound allows has
// come back since. What a node admitted that died while the fault lasted nobody
// knows, and a whole death costs what it costs.
func paid(b *model.Bucket, faults []*model.Fault, f *model.Fault, one float64, from, to time.Duration) bool {
	switch f.Kind {
	case model.Kill, model.KillTwo, model.KillAll, model.DiskStop:
		return false
	}
	for _, g := range faults {
		if g.Kind != model.Move && len(g.Hurt) > 0 && g != f && g.During(f.Start, f.Over) {
			return false
		}
	}
	return from < f.Start && to > f.Over+time.Duration(one/b.Rate*float64(time.Second))
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
	}
	return 0 // planned moves, one link, a slow disk, wrong clocks, nothing at all
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
