package ledger

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// hashes is the number of running hashes that are kept, so that nodes can compare them at
// the same index.
const hashes = 4096

// hashRing holds the running hash after each of the last commands.
type hashRing struct {
	last  hashAt
	slots [hashes]hashAt
}

type hashAt struct {
	index uint64
	sum   uint64
}

// add extends the running hash by the effects of a command: on the time, the forgotten
// keys, the expired overrides, the account of each operation, the policy, the tokens and
// the audit. Amounts are in the unit of the version of commands in force, so that programs
// of several versions have the same hash.
func (h *hashRing) add(index, version uint64, now, forgot int64, expired []string, results []Result) {
	b := make([]byte, 0, 64+96*len(results))
	for _, v := range [...]uint64{h.last.sum, index, uint64(now), uint64(forgot), uint64(len(expired))} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for _, id := range expired {
		b = append(append(b, id...), 0)
	}
	for i := range results {
		b = results[i].appendHash(b, version)
	}
	h.set(hashAt{index, xxhash.Sum64(b)})
}

func (r *Result) appendHash(b []byte, v uint64) []byte {
	a := &r.Account
	b = append(b, byte(outcomeOf(r.Err)), bit(r.Replayed), byte(a.Plan), bit(a.Suspended))
	for _, v := range [...]uint64{
		uint64(a.Lifetime.in(v)), uint64(a.Free.in(v)), uint64(a.Purchased.in(v)), uint64(a.OpenBill.in(v)), uint64(limitIn(a.UsageLimit, v)),
		uint64(a.Overrides.firstExpiry()), r.Entry.Index, r.Revision,
	} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	if r.sum != 0 {
		b = binary.BigEndian.AppendUint64(b, r.sum)
	}
	return append(append(b, a.ID...), 0)
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func (h *hashRing) set(at hashAt) {
	h.last = at
	h.slots[at.index%hashes] = at
}

// Hash returns the running hash after the last command, and the command's index.
func (s *State) Hash() (index, sum uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.hash.last.index, s.hash.last.sum
}

// HashAt returns the running hash after the command at an index; ok is false if there is
// no such command or its hash is no longer kept.
func (s *State) HashAt(index uint64) (sum uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at := s.hash.slots[index%hashes]
	return at.sum, at.index == index && index != 0
}
