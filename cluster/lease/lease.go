// Package lease decides who may decide: at any instant at most one life of one
// node holds a partition, whatever is slow, cut off or frozen.
//
// An owner holds a partition while a majority of the grantors that the
// ownership map names granted its epoch, each grant counted from the sending
// of its request on the owner's own monotonic clock. A grantor grants the last
// epoch that it knows to be committed, and none before one that it has applied.
// So once a majority of them has applied a map without the owner, and one lease
// more has passed, the owner holds nothing: any majority it could have renewed
// with meets the one that refuses.
//
// The package is pure: time is an argument, requests and replies are values.
package lease

import (
	"slices"
	"time"
)

// MaxGrantors is the most grantors a list can have.
const MaxGrantors = 7

// Life is a node in one of its lives: Boot rises with every start.
type Life struct {
	ID   string
	Boot uint64
}

// Terms are what an ownership map says of leases. Their length is never a
// local setting: all nodes must count with the same.
type Terms struct {
	Epoch    uint64
	Grantors []string
	Retiring []string      // while the list changes: a majority of these is needed too
	Length   time.Duration // of a lease
	Drift    time.Duration // how much longer a slow clock can take for Length
}

// Request asks a grantor for a lease.
type Request struct {
	Life
	Epoch uint64
	Sent  time.Duration // on the clock of who asks, who gets it back
}

// Grant reports whether a grantor that goes by the map of the given epoch,
// in which the node that asks has the given boot (0: it is no member), grants
// the request. A grantor that has not applied its log as it stood when it
// started is not ready: it may have promised more than it knows.
func Grant(q Request, epoch, boot uint64, ready bool) bool {
	return ready && q.Epoch == epoch && q.Boot == boot && boot != 0
}

// grant is the last one of a grantor.
type grant struct {
	epoch uint64
	sent  time.Duration
}

// Holder is an owner's half. Its methods must not overlap.
type Holder struct {
	terms  Terms
	since  []uint64 // by partition: the epoch since which it is owned without a break; 0: not owned
	grants map[string]grant
}

// NewHolder returns a holder of nothing.
func NewHolder() *Holder { return &Holder{grants: map[string]grant{}} }

// Adopt takes over a map: its terms and, by partition, what it has this life of
// this node own. A map that is not newer changes nothing.
func (h *Holder) Adopt(t Terms, owned []bool) bool {
	if t.Epoch <= h.terms.Epoch {
		return false
	}
	since := make([]uint64, len(owned))
	for p, mine := range owned {
		switch {
		case !mine:
		case p < len(h.since) && h.since[p] != 0:
			since[p] = h.since[p]
		default:
			since[p] = t.Epoch
		}
	}
	h.since, h.terms = since, t
	for id := range h.grants {
		if !slices.Contains(t.Grantors, id) && !slices.Contains(t.Retiring, id) {
			delete(h.grants, id)
		}
	}
	return true
}

// Epoch returns that of the map adopted last.
func (h *Holder) Epoch() uint64 { return h.terms.Epoch }

// Ask returns whom to ask for a lease now.
func (h *Holder) Ask() []string {
	ask := slices.Clone(h.terms.Grantors)
	for _, id := range h.terms.Retiring {
		if !slices.Contains(ask, id) {
			ask = append(ask, id)
		}
	}
	return ask
}

// Granted notes that the grantor granted a request of the epoch that was sent
// at the given instant.
func (h *Holder) Granted(grantor string, epoch uint64, sent time.Duration) {
	if g, ok := h.grants[grantor]; !ok || sent > g.sent {
		h.grants[grantor] = grant{epoch, sent}
	}
}

// Held is what a holder holds, frozen: it is read at every check. The zero Held
// is nothing.
type Held struct {
	since []uint64
	lists [2]list
}

// list is the grants of one list of grantors.
type list struct {
	need   int // a majority; 0: no such list
	grants [MaxGrantors]held
	n      int
}

type held struct {
	epoch uint64
	until time.Duration
}

// Held returns what is held by the grants so far.
func (h *Holder) Held() *Held {
	v := &Held{since: h.since}
	for i, ids := range [2][]string{h.terms.Grantors, h.terms.Retiring} {
		l := &v.lists[i]
		if len(ids) == 0 {
			continue
		}
		l.need = len(ids)/2 + 1
		for _, id := range ids {
			if g, ok := h.grants[id]; ok && l.n < MaxGrantors {
				l.grants[l.n] = held{g.epoch, g.sent + h.terms.Length}
				l.n++
			}
		}
	}
	return v
}

// Valid reports whether the partition is held at the instant now: a grant made
// under an earlier map counts where that map already had the same owner.
func (v *Held) Valid(partition int, now time.Duration) bool {
	if partition >= len(v.since) || v.since[partition] == 0 || v.lists[0].need == 0 {
		return false
	}
	since := v.since[partition]
	for i := range v.lists {
		l := &v.lists[i]
		have := 0
		for _, g := range l.grants[:l.n] {
			if g.epoch >= since && now < g.until {
				have++
			}
		}
		if have < l.need {
			return false
		}
	}
	return true
}
