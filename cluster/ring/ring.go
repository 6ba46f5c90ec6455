// Package ring decides who owns each partition: a pure function of who owned
// it before and who is there now.
//
// A living owner keeps its partitions. Those of a dead one go to its
// successors, in their order. What is left is given by rendezvous hashing,
// never above the cap; and when somebody is above the cap, just enough
// partitions move to bring him down to it.
package ring

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Nobody is the place of a role that no member holds.
const Nobody = 0xFFFF

// Place is a partition's owner and its two successors, as indices of members.
type Place = [3]uint16

// Table is who holds what. Members are sorted.
type Table struct {
	Members []string
	Places  []Place
}

// Next returns the table of parts partitions for the given members, sorted and
// without repetition, moving as little of prev as the cap allows.
func Next(prev Table, members []string, parts int) Table {
	b := builder{members: members, load: make([]int, len(members)), places: make([]Place, parts)}
	if len(members) == 0 {
		for i := range b.places {
			b.places[i] = Place{Nobody, Nobody, Nobody}
		}
		return Table{members, b.places}
	}
	b.floor = parts / len(members)
	b.most = (parts*105/100 + len(members) - 1) / len(members)
	if joined(prev.Members, members) {
		b.most = (parts + len(members) - 1) / len(members) // a newcomer gets its whole share
	}
	for i := range b.places {
		b.places[i] = Place{Nobody, Nobody, Nobody}
		if i < len(prev.Places) {
			b.keep(i, prev)
		}
	}
	for i := range b.places {
		if b.places[i][0] == Nobody {
			b.give(i, b.most)
		}
	}
	for i := range b.places {
		if at := b.places[i][0]; b.load[at] > b.most {
			b.load[at]--
			b.give(i, max(b.floor, 1))
		}
	}
	for i := range b.places {
		b.succeed(i)
	}
	return Table{members, b.places}
}

// joined reports whether there is a member that was not one before.
func joined(before, members []string) bool {
	for _, id := range members {
		if _, ok := slices.BinarySearch(before, id); !ok {
			return true
		}
	}
	return false
}

type builder struct {
	members     []string
	load        []int // partitions owned
	places      []Place
	floor, most int
}

// keep gives partition i to the first of its former holders that is a member.
func (b *builder) keep(i int, prev Table) {
	for _, was := range prev.Places[i] {
		if int(was) >= len(prev.Members) {
			continue
		}
		if at, ok := slices.BinarySearch(b.members, prev.Members[was]); ok {
			b.own(i, at)
			return
		}
	}
}

func (b *builder) own(i, at int) {
	b.places[i][0] = uint16(at)
	b.load[at]++
}

// give has partition i owned by the first of its ranking below the limit, or
// by the least loaded when there is none.
func (b *builder) give(i, limit int) {
	least := 0
	for _, at := range b.rank(i) {
		if b.load[at] < limit {
			b.own(i, at)
			return
		}
	}
	for at := range b.load {
		if b.load[at] < b.load[least] {
			least = at
		}
	}
	b.own(i, least)
}

// succeed names the first two of the ranking that are not the owner.
func (b *builder) succeed(i int) {
	role := 1
	for _, at := range b.rank(i) {
		if uint16(at) != b.places[i][0] && role < len(b.places[i]) {
			b.places[i][role] = uint16(at)
			role++
		}
	}
}

// rank orders the members for a partition by rendezvous hashing: it changes
// for a partition only where members come or go.
func (b *builder) rank(i int) []int {
	score := make([]uint64, len(b.members))
	order := make([]int, len(b.members))
	for at, id := range b.members {
		order[at] = at
		score[at] = xxhash.Sum64(binary.BigEndian.AppendUint32([]byte(id), uint32(i)))
	}
	slices.SortFunc(order, func(x, y int) int {
		if score[x] > score[y] {
			return -1
		}
		return 1
	})
	return order
}
