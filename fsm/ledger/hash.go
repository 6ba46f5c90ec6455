package ledger

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// hashes remembered, so that two nodes can compare at one index.
const hashes = 4096

// hashRing is the running hash of what the last commands did.
type hashRing struct {
	last  hashAt
	slots [hashes]hashAt
}

type hashAt struct {
	index uint64
	sum   uint64
}

// add hashes what a command did after all that went before it.
func (h *hashRing) add(index uint64, now int64, results []Result) {
	b := make([]byte, 0, 24+64*len(results))
	b = binary.BigEndian.AppendUint64(b, h.last.sum)
	b = binary.BigEndian.AppendUint64(b, index)
	b = binary.BigEndian.AppendUint64(b, uint64(now))
	for i := range results {
		r := &results[i]
		b = append(b, byte(outcomeOf(r.Err)), byte(r.Account.Plan))
		for _, m := range [...]Micros{r.Account.Lifetime, r.Account.Free, r.Account.Purchased, r.Account.OpenBill, r.Account.UsageLimit} {
			b = binary.BigEndian.AppendUint64(b, uint64(m))
		}
		b = binary.BigEndian.AppendUint64(b, r.Entry.Index)
		b = append(b, r.Account.ID...)
	}
	h.set(hashAt{index, xxhash.Sum64(b)})
}

func (h *hashRing) set(at hashAt) {
	h.last = at
	h.slots[at.index%hashes] = at
}

// Hash returns the running hash after the last command, and its index.
func (s *State) Hash() (index, sum uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.hash.last.index, s.hash.last.sum
}

// HashAt returns the running hash after the command at an index; ok is false
// when there was none or it is too long ago.
func (s *State) HashAt(index uint64) (sum uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at := s.hash.slots[index%hashes]
	return at.sum, at.index == index && index != 0
}
