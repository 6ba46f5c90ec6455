package ownership

import (
	"slices"
	"time"

	"quorate/fsm/ledger"
)

// grant is the last grant of a grantor.
type grant struct {
	epoch uint64
	sent  time.Duration
}

// holder collects the grants that this boot received.
type holder struct {
	terms  *ledger.Map // the map adopted last
	since  []uint64    // by partition: the epoch since which this boot owns it without a break; 0: not owned
	grants map[string]grant
	frozen *Held // nil: a grant has changed since
}

func newHolder() holder { return holder{terms: &ledger.Map{}, grants: map[string]grant{}} }

// adopt puts a newer map in force; v is the map as this boot sees it.
func (h *holder) adopt(m *ledger.Map, v *View, self string) {
	since := make([]uint64, len(v.Parts))
	for p := range v.Parts {
		switch {
		case !v.owns(p, self):
		case p < len(h.since) && h.since[p] != 0:
			since[p] = h.since[p]
		default:
			since[p] = m.Epoch
		}
	}
	h.since, h.terms, h.frozen = since, m, nil
	for id := range h.grants {
		if !slices.Contains(m.Grantors, id) && !slices.Contains(m.Retiring, id) {
			delete(h.grants, id)
		}
	}
}

// granted notes that a grantor granted a ping that had the given epoch and was sent at the
// given instant.
func (h *holder) granted(grantor string, epoch uint64, sent time.Duration) {
	if g, ok := h.grants[grantor]; !ok || sent > g.sent {
		h.grants[grantor] = grant{epoch, sent}
		h.frozen = nil
	}
}

// Held is an immutable snapshot of the leases by the grants so far, which every check
// reads. The zero Held holds nothing.
type Held struct {
	Epoch uint64 // of the map adopted last
	since []uint64
	lists [2]list // the map's Grantors, and Retiring while the list changes
}

// list holds the grants of one list of grantors.
type list struct {
	need   int // a majority; 0: no such list
	grants [ledger.MaxGrantors]timed
	n      int
}

// timed is a grant and when it ends.
type timed struct {
	epoch uint64
	until time.Duration
}

func (h *holder) held() *Held {
	if h.frozen != nil {
		return h.frozen
	}
	v := &Held{Epoch: h.terms.Epoch, since: h.since}
	for i, ids := range [2][]string{h.terms.Grantors, h.terms.Retiring} {
		l := &v.lists[i]
		if len(ids) == 0 {
			continue
		}
		l.need = len(ids)/2 + 1
		for _, id := range ids {
			if g, ok := h.grants[id]; ok && l.n < len(l.grants) {
				l.grants[l.n] = timed{g.epoch, g.sent + h.terms.Lease}
				l.n++
			}
		}
	}
	h.frozen = v
	return v
}

// Valid reports whether the partition is held at the instant now. A grant of an earlier
// epoch counts if this boot has owned the partition since that epoch or longer.
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
