package limiter

import "quorate/limiter/bucket"

// Move is a partition that moves here, exactly as its owner left it.
type Move struct {
	Partition int
	Known     []Known
	Reserved  []Reserved
}

// Leave returns all that the next owner of a partition must have, if this node
// decides on it no more.
func (l *Local) Leave(p int) Move {
	return Move{Partition: p, Known: l.Export(p), Reserved: l.reservedOf(p)}
}

// Gone forgets the reservations of partitions whose taker has them.
func (l *Local) Gone(partitions []int) {
	for _, p := range partitions {
		sh := &l.parts[p]
		sh.mu.Lock()
		if l.role(p) != owner {
			l.live.Add(-int64(len(sh.reserved)))
			sh.reserved = nil
		}
		sh.mu.Unlock()
	}
}

// Receive takes over partitions that move here and decides on them from now on.
// It returns how many of them, from the first, this node has: the others are not
// this map's moves.
func (l *Local) Receive(epoch uint64, moves ...Move) (has int) {
	coming := make([]int, 0, len(moves))
	for _, m := range moves {
		if l.Epoch() == epoch && l.Awaits(m.Partition) {
			l.receive(m)
			coming = append(coming, m.Partition)
		}
	}
	l.become(epoch, awaiting, owner, coming...)
	for has < len(moves) && l.Epoch() == epoch && l.Holds(moves[has].Partition) {
		has++
	}
	return has
}

func (l *Local) receive(m Move) {
	exact := make(map[bucket.ID]Known, len(m.Known))
	for _, k := range m.Known {
		exact[k.ID] = k
	}
	for _, mine := range l.Export(m.Partition) {
		if _, owes := exact[mine.ID]; !owes {
			exact[mine.ID] = Known{ID: mine.ID, Limit: mine.Limit, Tallies: mine.Tallies}
		}
	}
	for _, k := range exact {
		l.replace(k)
		l.settleIn(k)
	}
	l.keepReserved(m)
}

// replace forgets what this node knew of a bucket for what its owner says.
func (l *Local) replace(k Known) {
	sh := l.shard(k.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.copies, k.ID)
	delete(sh.hot, k.ID)
	k.State.At = l.now()
	l.setEntry(sh, k.ID, entry{})
	l.merge(sh, k, k.State.At)
}
