package ledger

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"quorate/limiter/codec"
)

// Partitions is how many parts the accounts are divided into.
const Partitions = 4096

// Nobody is the place of a role that no member holds.
const Nobody = 0xFFFF

// MaxMembers is the most nodes an ownership map can name; MaxNodeID the
// longest id of one, in bytes.
const (
	MaxMembers = 1024
	MaxNodeID  = 64
)

// Member is a node that owns partitions, in one of its lives: Boot rises with
// every start.
type Member struct {
	ID   string
	Boot uint64
}

// MaxGrantors is the most nodes that can grant leases.
const MaxGrantors = 7

// Map says who owns each partition and who its two successors are, as indices
// into Members, and what a lease of an owner is. While the owner is Nobody, the
// first successor is to be the next; while a partition moves, its owner hands
// it over to the first successor. It is immutable once stored.
type Map struct {
	Epoch   uint64
	Members []Member // sorted by id
	Places  [][3]uint16
	Moving  []bool // by partition; nil: none

	Grantors []string      // whose grants make a lease
	Retiring []string      // while the list changes: the one before
	Lease    time.Duration // whole milliseconds
	Drift    time.Duration // how much longer a slow clock takes for a lease; likewise
}

// Boot returns the life of a member, 0 for who is none.
func (m *Map) Boot(id string) uint64 {
	for i := range m.Members {
		if m.Members[i].ID == id {
			return m.Members[i].Boot
		}
	}
	return 0
}

// Partition returns the partition of an account.
func Partition(account string) int { return int(xxhash.Sum64String(account) % Partitions) }

// Owner returns the owner of an account and its two successors in order, each
// empty where nobody is. n counts the roles up to the last that is held.
func (m *Map) Owner(account string) (ids [3]string, n int) {
	if len(m.Places) != Partitions {
		return ids, 0
	}
	for role, at := range m.Places[Partition(account)] {
		if int(at) < len(m.Members) {
			ids[role], n = m.Members[at].ID, role+1
		}
	}
	return ids, n
}

// Unsettled counts the partitions that nobody owns for now, and those that are
// being handed over.
func (m *Map) Unsettled() (unowned, moving int) {
	for p, place := range m.Places {
		if place[0] == Nobody {
			unowned++
		} else if p < len(m.Moving) && m.Moving[p] {
			moving++
		}
	}
	return unowned, moving
}

// Owned counts each member's partitions.
func (m *Map) Owned() map[string]int {
	owned := make(map[string]int, len(m.Members))
	for _, p := range m.Places {
		if int(p[0]) < len(m.Members) {
			owned[m.Members[p[0]].ID]++
		}
	}
	return owned
}

// Encode returns what DecodeMap reads.
func (m *Map) Encode() ([]byte, error) {
	w := codec.NewWriter()
	m.encode(w)
	return w.Finish()
}

// DecodeMap reads a map.
func DecodeMap(b []byte) (*Map, error) {
	r := codec.NewReader(b)
	m := decodeMap(r)
	if err := r.End(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Map) encode(w *codec.Writer) {
	w.Array(8)
	w.Uint(m.Epoch)
	w.Array(len(m.Members))
	for _, k := range m.Members {
		w.Array(2)
		w.String(k.ID)
		w.Uint(k.Boot)
	}
	places := make([]byte, 0, 6*len(m.Places))
	for _, p := range m.Places {
		for _, at := range p {
			places = binary.BigEndian.AppendUint16(places, at)
		}
	}
	w.Bytes(places)
	moving := make([]byte, (len(m.Moving)+7)/8)
	for p, moves := range m.Moving {
		if moves {
			moving[p/8] |= 1 << (p % 8)
		}
	}
	w.Bytes(moving)
	for _, ids := range [][]string{m.Grantors, m.Retiring} {
		w.Array(len(ids))
		for _, id := range ids {
			w.String(id)
		}
	}
	w.Int(m.Lease.Milliseconds())
	w.Int(m.Drift.Milliseconds())
}

// decodeMap reads a map, nil after an error.
func decodeMap(r *codec.Reader) *Map {
	m := &Map{}
	r.Array(8)
	m.Epoch = r.Uint()
	m.Members = codec.List(r, MaxMembers, func() Member {
		r.Array(2)
		return Member{r.String(MaxNodeID), r.Uint()}
	})
	places := r.Bytes(6 * Partitions)
	moving := r.Bytes(Partitions / 8)
	for _, ids := range []*[]string{&m.Grantors, &m.Retiring} {
		*ids = codec.List(r, MaxGrantors, func() string { return r.String(MaxNodeID) })
	}
	lease, drift := r.IntIn(0, maxLease), r.IntIn(0, maxLease)
	if len(places)%6 != 0 {
		r.Fail(fmt.Errorf("places of %d bytes: %w", len(places), codec.ErrBounds))
	}
	if r.Err() != nil {
		return nil
	}
	m.Lease, m.Drift = time.Duration(lease)*time.Millisecond, time.Duration(drift)*time.Millisecond
	for i := 0; i < len(places); i += 6 {
		var p [3]uint16
		for j := range p {
			p[j] = binary.BigEndian.Uint16(places[i+2*j:])
		}
		m.Places = append(m.Places, p)
	}
	if len(moving) > 0 {
		m.Moving = make([]bool, 8*len(moving))
		for p := range m.Moving {
			m.Moving[p] = moving[p/8]>>(p%8)&1 == 1
		}
	}
	return m
}

// maxLease bounds a lease, in milliseconds.
const maxLease = 3_600_000
