package ledger

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"quorate/limiter/codec"
)

// Partitions is the number of partitions of the accounts.
const Partitions = 4096

// NoMember is the index in Map.Places of a role that no member has.
const NoMember = 0xFFFF

// MaxMembers is the maximum number of nodes in an ownership map. MaxNodeID is the maximum
// length of a node's id in bytes.
const (
	MaxMembers = 1024
	MaxNodeID  = 64
)

// Member is a node in an ownership map. Boot is the node's boot counter, which rises with
// each start of its process.
type Member struct {
	ID   string
	Boot uint64
}

// MaxGrantors is the maximum number of nodes that grant leases.
const MaxGrantors = 7

// Map is an ownership map: the owner of each partition and its two successors, and the
// parameters of leases. If the owner of a partition is NoMember, its first successor will
// own it next. While a partition moves, its owner hands it over to its first successor.
// A stored Map is immutable.
type Map struct {
	Epoch   uint64
	Members []Member    // sorted by id
	Places  [][3]uint16 // by partition: owner and successors as indices into Members, or NoMember
	Moving  []bool      // by partition; nil if none moves

	Grantors []string      // nodes that grant leases
	Retiring []string      // while Grantors changes, the previous list; else empty
	Lease    time.Duration // length of a lease, in whole milliseconds
	Drift    time.Duration // added to Lease for clocks that run slow, in whole milliseconds
}

// Boot returns the boot counter of a member, 0 if the node is not a member.
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

// Owner returns the ids of an account's owner and of its two successors, each empty if no
// member has the role. n is the number of roles up to the last that a member has.
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

// InTransition returns the number of partitions without an owner, and of those that move.
func (m *Map) InTransition() (unowned, moving int) {
	for p, place := range m.Places {
		if place[0] == NoMember {
			unowned++
		} else if p < len(m.Moving) && m.Moving[p] {
			moving++
		}
	}
	return unowned, moving
}

// Owned returns the number of partitions that each member owns, by id.
func (m *Map) Owned() map[string]int {
	owned := make(map[string]int, len(m.Members))
	for _, p := range m.Places {
		if int(p[0]) < len(m.Members) {
			owned[m.Members[p[0]].ID]++
		}
	}
	return owned
}

// Encode encodes the map for DecodeMap.
func (m *Map) Encode() ([]byte, error) {
	w := codec.NewWriter()
	m.encode(w)
	return w.Finish()
}

// DecodeMap decodes the result of Encode.
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

// decodeMap reads a map. It returns nil after an error.
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

// maxLease is the maximum length of a lease in milliseconds.
const maxLease = 3_600_000
