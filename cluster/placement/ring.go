package placement

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"quorate/fsm/ledger"
)

// noMember is the index in a place for a role that no member has.
const noMember = ledger.NoMember

// place is a partition's owner and its two successors, as indices of members.
// While the owner is noMember the first successor is the next owner. While a
// partition moves, its owner hands it over to the first successor.
type place = [3]uint16

// candidate is a node that is, or may become, a member of the map.
type candidate struct {
	ledger.Member
	lost    bool // it does not answer; it may be alive and admit all the same
	unready bool // it answers, but cannot become a member yet
	leaving bool // it must own nothing
}

// ringView is all that the next places are computed from.
type ringView struct {
	*ledger.Map   // in force
	candidates    []candidate
	leasesExpired bool   // no lease on what the map took away can be valid
	handedOver    []bool // by partition: the owner of a moving one has handed it over
}

// unowned counts the partitions without an owner.
func unowned(places []place) (n int) {
	for _, at := range places {
		if at[0] == noMember {
			n++
		}
	}
	return n
}

func moving(m *ledger.Map, p int) bool { return p < len(m.Moving) && m.Moving[p] }

// nextRing returns the members, places and moves of the next map, with parts
// partitions, and whether they differ from those in force. It is one safe step:
//
// A living owner keeps its partitions. Those of a lost owner are first taken
// away, so that they have no owner, and are given to a successor that has a copy
// once no lease on them can be valid. Balance returns afterwards by planned
// moves, in which the old owner hands over. The places of new members follow
// from rendezvous hashing.
//
// If it is called again and again, with the nodes unchanged and the waits and handoffs of
// each step done, it comes to rest.
func nextRing(v ringView, parts int) (*ledger.Map, bool) {
	s := newStep(v, parts)
	for p := range s.places {
		s.keep(p)
	}
	s.balance()
	for p := range s.places {
		s.fillSuccessors(p)
	}
	next := &ledger.Map{Members: s.members, Places: s.places}
	if slices.Contains(s.moving, true) {
		next.Moving = s.moving
	}
	if n := unowned(v.Places); n > 0 && !v.leasesExpired && unowned(next.Places) <= n {
		return v.Map, false // another map would only restart the wait
	}
	same := slices.Equal(next.Members, v.Members) && slices.Equal(next.Places, v.Places) && slices.Equal(next.Moving, v.Moving)
	return next, !same
}

// fate tells what has happened to a member of the map in force.
type fate uint8

const (
	alive fate = iota
	dead       // for certain: a later boot of the node is there
	lost       // it may be alive
)

type step struct {
	v       ringView
	members []ledger.Member
	leaving []bool
	places  []place
	moving  []bool
	fates   []fate   // by member of the map in force
	index   []uint16 // of it in members, if it lives
	load    []int    // partitions owned once all moves are done
	ranks   [][]uint16
}

func newStep(v ringView, parts int) *step {
	s := &step{v: v, places: make([]place, parts), moving: make([]bool, parts), ranks: make([][]uint16, parts)}
	nodes := slices.Clone(v.candidates)
	slices.SortFunc(nodes, func(a, b candidate) int { return cmp.Compare(a.ID, b.ID) })
	for _, n := range nodes {
		if !n.lost && !n.unready {
			s.members = append(s.members, n.Member)
			s.leaving = append(s.leaving, n.leaving)
		}
	}
	s.load = make([]int, len(s.members))
	for _, was := range v.Members {
		f, at := lost, uint16(noMember)
		if i, ok := slices.BinarySearchFunc(nodes, was.ID, func(n candidate, id string) int { return cmp.Compare(n.ID, id) }); ok && nodes[i].Boot > was.Boot {
			f = dead
		}
		if i, ok := slices.BinarySearchFunc(s.members, was.ID, func(m ledger.Member, id string) int { return cmp.Compare(m.ID, id) }); ok && s.members[i] == was {
			f, at = alive, uint16(i)
		}
		s.fates, s.index = append(s.fates, f), append(s.index, at)
	}
	return s
}

// fate returns the fate of the member at an index of the map in force, and its index now.
// The member of a role without a holder is dead.
func (s *step) fate(was uint16) (fate, uint16) {
	if int(was) >= len(s.fates) {
		return dead, noMember
	}
	return s.fates[was], s.index[was]
}

// keep places partition p before any balance. The partition gets another owner
// only when no node can still admit from it: not its owner and, while it moves,
// not the importer.
func (s *step) keep(p int) {
	s.places[p] = place{noMember, noMember, noMember}
	if p >= len(s.v.Places) { // the first map
		s.give(p)
		return
	}
	was, moves := s.v.Places[p], moving(s.v.Map, p)
	of, owner := s.fate(was[0])
	importer, first := s.fate(was[1])
	_, second := s.fate(was[2])
	switch {
	case was[0] == noMember && !s.v.leasesExpired:
		s.put(p, noMember, first, second)
	case of == lost, moves && importer == lost: // without an owner; a successor with a copy is next
		s.put(p, noMember, first, owner, second)
	case of == dead: // or there was no owner
		s.activate(p, first, second)
	case moves && importer == dead:
		s.put(p, owner, second)
	case moves && p < len(s.v.handedOver) && s.v.handedOver[p]:
		s.put(p, first, owner, second)
	default:
		s.put(p, owner, first, second)
		if s.moving[p] = moves; moves {
			s.load[owner]--
			s.load[first]++
		}
	}
}

// put fills the roles of partition p with the members that are not noMember; owner
// may be noMember.
func (s *step) put(p int, owner uint16, successors ...uint16) {
	s.places[p][0] = owner
	role := 1
	for _, at := range successors {
		if at != noMember && at != owner && role < len(s.places[p]) && !slices.Contains(s.places[p][1:role], at) {
			s.places[p][role] = at
			role++
		}
	}
	if owner != noMember {
		s.load[owner]++
	}
}

// activate gives partition p, on which no lease can be valid, to the first of
// its successors that lives, or to any member if no copy is left.
func (s *step) activate(p int, successors ...uint16) {
	for i, at := range successors {
		if at != noMember {
			s.put(p, at, successors[i+1:]...)
			return
		}
	}
	s.give(p)
}

// give makes the first member in the ranking of partition p that owns less than
// its share the owner.
func (s *step) give(p int) {
	if len(s.members) == 0 {
		return
	}
	_, most := s.share(len(s.places), 100)
	best := uint16(noMember)
	for _, at := range s.rank(p) {
		if s.leaving[at] {
			continue
		}
		if s.load[at] < most {
			best = at
			break
		}
		if best == noMember || s.load[at] < s.load[best] {
			best = at
		}
	}
	if best == noMember {
		best = s.rank(p)[0] // every member is leaving
	}
	s.places[p][0] = best
	s.load[best]++
}

// share returns the least and the most partitions of a node that stays, the
// most with the given percentage of the mean.
func (s *step) share(parts, percent int) (least, most int) {
	staying := 0
	for _, leaving := range s.leaving {
		if !leaving {
			staying++
		}
	}
	staying = max(staying, 1)
	return parts / staying, (parts*percent/100 + staying - 1) / staying
}

// balance starts planned moves from members that own too much, or leave, to
// members that own too little, if nothing else is under way.
func (s *step) balance() {
	for p := range s.places {
		if s.places[p][0] == noMember || s.moving[p] {
			return
		}
	}
	if len(s.v.Places) == 0 {
		return
	}
	least, most := s.share(len(s.places), 105)
	for p := range s.places {
		if owner := s.places[p][0]; s.load[owner] > most || s.leaving[owner] {
			s.move(p, s.importer(p, least, most))
		}
	}
	// A member with far too little gets its share from the members that own most.
	for top := most; top >= least && s.needy(least*9/10); top-- {
		for p := range s.places {
			if owner := s.places[p][0]; !s.moving[p] && s.load[owner] >= top {
				s.move(p, s.importer(p, least, least))
			}
		}
	}
}

// needy reports whether a member that stays owns fewer partitions than least.
func (s *step) needy(least int) bool {
	for at, n := range s.load {
		if !s.leaving[at] && n < least {
			return true
		}
	}
	return false
}

// importer returns the member that partition p should move to: a successor with
// room before others, by rank.
func (s *step) importer(p, least, most int) uint16 {
	owner := s.places[p][0]
	limit := least
	if s.leaving[owner] {
		limit = most
	}
	candidates := append([]uint16{s.places[p][1], s.places[p][2]}, s.rank(p)...)
	for _, at := range candidates {
		if at != noMember && at != owner && !s.leaving[at] && s.load[at] < max(limit, 1) {
			return at
		}
	}
	if !s.leaving[owner] {
		return noMember
	}
	best := uint16(noMember)
	for _, at := range s.rank(p) {
		if at != owner && !s.leaving[at] && (best == noMember || s.load[at] < s.load[best]) {
			best = at
		}
	}
	return best
}

// move starts a planned move of partition p, unless to is noMember.
func (s *step) move(p int, to uint16) {
	if to == noMember {
		return
	}
	was := s.places[p]
	s.load[was[0]]--
	s.load[to]++
	s.places[p] = place{was[0], noMember, noMember}
	role := 1
	for _, at := range []uint16{to, was[1], was[2]} {
		if at != noMember && role < 3 && !slices.Contains(s.places[p][:role], at) {
			s.places[p][role] = at
			role++
		}
	}
	s.moving[p] = true
}

// fillSuccessors fills the empty roles of partition p by its ranking.
func (s *step) fillSuccessors(p int) {
	roles := &s.places[p]
	for role := 1; role < len(roles); role++ {
		if roles[role] != noMember {
			continue
		}
		for _, at := range s.rank(p) {
			if !slices.Contains(roles[:], at) {
				roles[role] = at
				break
			}
		}
	}
}

// rank orders the members for a partition by rendezvous hashing: the order of the other
// members does not change when a member comes or goes.
func (s *step) rank(p int) []uint16 {
	if s.ranks[p] != nil {
		return s.ranks[p]
	}
	score := make([]uint64, len(s.members))
	order := make([]uint16, len(s.members))
	for at, m := range s.members {
		order[at] = uint16(at)
		score[at] = xxhash.Sum64(binary.BigEndian.AppendUint32([]byte(m.ID), uint32(p)))
	}
	slices.SortFunc(order, func(x, y uint16) int { return cmp.Compare(score[y], score[x]) })
	s.ranks[p] = order
	return order
}
