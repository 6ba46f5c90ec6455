package ledger

import (
	"github.com/cespare/xxhash/v2"
	"github.com/vmihailenco/msgpack/v5"

	"quorate/limiter/bucket"
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

// Map says who owns each partition and who its two successors are, as indices
// into Members. It is immutable once stored.
type Map struct {
	Epoch   uint64
	Members []Member // sorted by id
	Places  [][3]uint16
}

// Partition returns the partition of an account.
func Partition(account string) int { return int(xxhash.Sum64String(account) % Partitions) }

// Owner returns the owner of an account and its successors in order, without
// those that nobody holds.
func (m *Map) Owner(account string) (ids [3]string, n int) {
	if len(m.Places) != Partitions {
		return ids, 0
	}
	for _, at := range m.Places[Partition(account)] {
		if int(at) < len(m.Members) {
			ids[n] = m.Members[at].ID
			n++
		}
	}
	return ids, n
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

func (m *Map) encode(e *msgpack.Encoder) error {
	w := writer{e: e}
	w.array(3)
	w.uint(m.Epoch)
	w.array(len(m.Members))
	for _, k := range m.Members {
		w.array(2)
		w.string(k.ID)
		w.uint(k.Boot)
	}
	places := make([]byte, 0, 6*len(m.Places))
	for _, p := range m.Places {
		for _, at := range p {
			places = append(places, byte(at>>8), byte(at))
		}
	}
	w.bytes(places)
	return w.err
}

func decodeMap(d *msgpack.Decoder) (*Map, error) {
	r := reader{d: d}
	m := &Map{}
	r.array(3)
	m.Epoch = r.uint()
	for range r.arrayUpTo(MaxMembers) {
		r.array(2)
		m.Members = append(m.Members, Member{r.string(MaxNodeID), r.uint()})
	}
	places := r.string(6 * Partitions)
	if r.err == nil && len(places)%6 != 0 {
		r.err = bucket.ErrTooLong
	}
	if r.err != nil {
		return nil, r.err
	}
	for i := 0; i < len(places); i += 6 {
		var p [3]uint16
		for j := range p {
			p[j] = uint16(places[i+2*j])<<8 | uint16(places[i+2*j+1])
		}
		m.Places = append(m.Places, p)
	}
	return m, nil
}
