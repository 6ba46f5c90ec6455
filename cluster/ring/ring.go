// Package ring decides who owns each partition: a pure function of who owned
// it before and how the nodes are now, one safe step at a time.
//
// A living owner keeps its partitions. Those of a lost one are first taken from
// everybody and then, when nobody can hold them any more, given to a successor
// that has a copy. Balance returns afterwards by planned moves, in which the
// old owner hands over. New members' places follow from rendezvous hashing.
package ring

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Nobody is the place of a role that no member holds.
const Nobody = 0xFFFF

// Place is a partition's owner and its two successors, as indices of members.
// While the owner is Nobody the first successor is to be the next. While a
// partition moves, the owner hands it over to the first successor.
type Place = [3]uint16

// Life is a node in one of its lives: Boot rises with every start.
type Life struct {
	ID   string
	Boot uint64
}

// Table is who holds what.
type Table struct {
	Members []Life // sorted by id
	Places  []Place
	Moving  []bool // by partition; nil: none
}

// Node is a node as the leader sees it.
type Node struct {
	Life
	Lost    bool // it is not heard of; it may live and decide all the same
	Unfit   bool // it lives, but knows too little to be a member yet
	Leaving bool // it is to own nothing
}

// View is all that the next step is made from.
type View struct {
	Table
	Nodes    []Node // all that are or may become members
	Passed   bool   // nobody can hold any more what the table has taken away
	Released []bool // by partition: the owner of a moving one has handed it over
}

// drained counts the partitions that were taken from all.
func (t *Table) drained() (n int) {
	for _, place := range t.Places {
		if place[0] == Nobody {
			n++
		}
	}
	return n
}

func (t *Table) moving(p int) bool { return p < len(t.Moving) && t.Moving[p] }

// Next returns the next table of parts partitions, and whether it differs from
// the one before. Repeated, with the nodes unchanged and each step's waits and
// handovers done, it comes to rest.
func Next(v View, parts int) (Table, bool) {
	s := newStep(v, parts)
	for p := range s.places {
		s.take(p)
	}
	s.level()
	for p := range s.places {
		s.succeed(p)
	}
	next := Table{Members: s.members, Places: s.places}
	if slices.Contains(s.moving, true) {
		next.Moving = s.moving
	}
	if n := v.drained(); n > 0 && !v.Passed && next.drained() <= n {
		return v.Table, false // another map would only make the wait begin anew
	}
	same := slices.Equal(next.Members, v.Members) && slices.Equal(next.Places, v.Places) && slices.Equal(next.Moving, v.Moving)
	return next, !same
}

// fate is what became of a life that the table names.
type fate uint8

const (
	lives fate = iota
	dead       // for certain: a later life of the node is there
	lost       // it may live
)

type step struct {
	v       View
	members []Life
	leaving []bool
	places  []Place
	moving  []bool
	fates   []fate   // by member of the old table
	index   []uint16 // of it in members, if it lives
	load    []int    // partitions owned, or to be owned once moves are done
	ranks   [][]uint16
}

func newStep(v View, parts int) *step {
	s := &step{v: v, places: make([]Place, parts), moving: make([]bool, parts), ranks: make([][]uint16, parts)}
	nodes := slices.Clone(v.Nodes)
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	for _, n := range nodes {
		if !n.Lost && !n.Unfit {
			s.members = append(s.members, n.Life)
			s.leaving = append(s.leaving, n.Leaving)
		}
	}
	s.load = make([]int, len(s.members))
	for _, was := range v.Members {
		f, at := lost, uint16(Nobody)
		if i, ok := slices.BinarySearchFunc(nodes, was.ID, byID[Node]); ok && nodes[i].Boot > was.Boot {
			f = dead
		}
		if i, ok := slices.BinarySearchFunc(s.members, was.ID, byID[Life]); ok && s.members[i] == was {
			f, at = lives, uint16(i)
		}
		s.fates, s.index = append(s.fates, f), append(s.index, at)
	}
	return s
}

func byID[T interface{ id() string }](n T, id string) int { return cmp.Compare(n.id(), id) }

func (l Life) id() string { return l.ID }

// fate returns what became of the holder of a role, and its index now. A role
// that nobody held is dead for certain.
func (s *step) fate(was uint16) (fate, uint16) {
	if int(was) >= len(s.fates) {
		return dead, Nobody
	}
	return s.fates[was], s.index[was]
}

// take decides what becomes of partition p before any balance. It may go to
// somebody else only when nobody can still decide on it: not its owner and,
// while it moves, not the taker.
func (s *step) take(p int) {
	s.places[p] = Place{Nobody, Nobody, Nobody}
	if p >= len(s.v.Places) { // never owned
		s.give(p)
		return
	}
	was, moving := s.v.Places[p], s.v.moving(p)
	of, owner := s.fate(was[0])
	tf, first := s.fate(was[1])
	_, second := s.fate(was[2])
	switch {
	case was[0] == Nobody && !s.v.Passed:
		s.put(p, Nobody, first, second)
	case of == lost, moving && tf == lost: // taken from all; who has a copy is next
		s.put(p, Nobody, first, owner, second)
	case of == dead: // or nobody's
		s.activate(p, first, second)
	case moving && tf == dead:
		s.put(p, owner, second)
	case moving && p < len(s.v.Released) && s.v.Released[p]:
		s.put(p, first, owner, second)
	default:
		s.put(p, owner, first, second)
		if s.moving[p] = moving; moving {
			s.load[owner]--
			s.load[first]++
		}
	}
}

// put fills the roles of partition p with those that live: the first as owner,
// if it is to have one.
func (s *step) put(p int, owner uint16, successors ...uint16) {
	s.places[p][0] = owner
	role := 1
	for _, at := range successors {
		if at != Nobody && at != owner && role < len(s.places[p]) && !slices.Contains(s.places[p][1:role], at) {
			s.places[p][role] = at
			role++
		}
	}
	if owner != Nobody {
		s.load[owner]++
	}
}

// activate gives partition p, which nobody holds, to the first that lives of
// its successors, or to anybody where no copy is left.
func (s *step) activate(p int, successors ...uint16) {
	for i, at := range successors {
		if at != Nobody {
			s.put(p, at, successors[i+1:]...)
			return
		}
	}
	s.give(p)
}

// give has partition p owned by the first of its ranking below its share.
func (s *step) give(p int) {
	if len(s.members) == 0 {
		return
	}
	_, most := s.share(len(s.places), 100)
	best := uint16(Nobody)
	for _, at := range s.rank(p) {
		if s.leaving[at] {
			continue
		}
		if s.load[at] < most {
			best = at
			break
		}
		if best == Nobody || s.load[at] < s.load[best] {
			best = at
		}
	}
	if best == Nobody {
		best = s.rank(p)[0] // all are leaving
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

// level starts planned moves from who has too much, or leaves, to who has too
// little, when nothing else is under way.
func (s *step) level() {
	for p := range s.places {
		if s.places[p][0] == Nobody || s.moving[p] {
			return
		}
	}
	if len(s.v.Places) == 0 {
		return
	}
	least, most := s.share(len(s.places), 105)
	for p := range s.places {
		if owner := s.places[p][0]; s.load[owner] > most || s.leaving[owner] {
			s.move(p, s.taker(p, least, most))
		}
	}
	// Who has far too little gets its share from those who have most.
	for top := most; top >= least && s.needy(least*9/10); top-- {
		for p := range s.places {
			if owner := s.places[p][0]; !s.moving[p] && s.load[owner] >= top {
				s.move(p, s.taker(p, least, least))
			}
		}
	}
}

// needy reports whether a node that stays has less than some partitions.
func (s *step) needy(than int) bool {
	for at, n := range s.load {
		if !s.leaving[at] && n < than {
			return true
		}
	}
	return false
}

// taker returns who partition p should move to: a successor with room before
// others, by rank.
func (s *step) taker(p, least, most int) uint16 {
	owner := s.places[p][0]
	limit := least
	if s.leaving[owner] {
		limit = most
	}
	candidates := append([]uint16{s.places[p][1], s.places[p][2]}, s.rank(p)...)
	for _, at := range candidates {
		if at != Nobody && at != owner && !s.leaving[at] && s.load[at] < max(limit, 1) {
			return at
		}
	}
	if !s.leaving[owner] {
		return Nobody
	}
	best := uint16(Nobody)
	for _, at := range s.rank(p) {
		if at != owner && !s.leaving[at] && (best == Nobody || s.load[at] < s.load[best]) {
			best = at
		}
	}
	return best
}

// move has partition p handed over, unless it is to Nobody.
func (s *step) move(p int, to uint16) {
	if to == Nobody {
		return
	}
	was := s.places[p]
	s.load[was[0]]--
	s.load[to]++
	s.places[p] = Place{was[0], Nobody, Nobody}
	role := 1
	for _, at := range []uint16{to, was[1], was[2]} {
		if at != Nobody && role < 3 && !slices.Contains(s.places[p][:role], at) {
			s.places[p][role] = at
			role++
		}
	}
	s.moving[p] = true
}

// succeed fills the roles of partition p that nobody has by its ranking.
func (s *step) succeed(p int) {
	place := &s.places[p]
	for role := 1; role < len(place); role++ {
		if place[role] != Nobody {
			continue
		}
		for _, at := range s.rank(p) {
			if !slices.Contains(place[:], at) {
				place[role] = at
				break
			}
		}
	}
}

// rank orders the members for a partition by rendezvous hashing: it changes
// for a partition only where members come or go.
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
