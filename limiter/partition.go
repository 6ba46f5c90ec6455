package limiter

import "quorate/limiter/bucket"

// PartitionSnapshot is a partition that moves, exactly as its owner left it.
type PartitionSnapshot struct {
	Partition    int
	Buckets      []BucketSnapshot
	Reservations []ReservationSnapshot
}

// ExportPartition returns all that the next owner of a partition needs. It is final if
// this node no longer decides on the partition.
func (l *Local) ExportPartition(p int) PartitionSnapshot {
	return PartitionSnapshot{Partition: p, Buckets: l.ExportBuckets(p), Reservations: l.exportReservations(p)}
}

// DropReservations forgets the reservations of partitions that their receiver has.
func (l *Local) DropReservations(partitions []int) {
	for _, p := range partitions {
		sh := &l.parts[p]
		sh.mu.Lock()
		if l.role(p) != owner {
			l.live.Add(-int64(len(sh.reserved)))
			for _, r := range sh.reserved {
				sh.endTakes(r)
			}
			sh.reserved = nil
		}
		sh.mu.Unlock()
	}
}

// dropExported forgets the reservations of partitions that this node was handing over,
// once their receiver is another or the handoff is over. The receiver may have taken them
// over and have settled some, though its confirmation did not come: settled here again
// they would give back twice.
func (l *Local) dropExported(was, now *localView) {
	var exported []int
	for p := range now.Parts {
		if before, had, _ := was.part(p); had == exporting && (now.roles[p] != exporting || now.Parts[p].Holders[1] != before.Holders[1]) {
			exported = append(exported, p)
		}
	}
	l.DropReservations(exported)
}

// ImportPartitions takes over partitions that move here and decides on them from now
// on. It returns how many of them, from the first, this node has. The next one does
// not move here by the map of the epoch.
func (l *Local) ImportPartitions(epoch uint64, moves ...PartitionSnapshot) (has int) {
	coming := make([]int, 0, len(moves))
	for _, m := range moves {
		if l.Epoch() == epoch && l.Importing(m.Partition) {
			l.importPartition(m)
			coming = append(coming, m.Partition)
		}
	}
	l.changeRole(epoch, importing, owner, coming...)
	for has < len(moves) && l.Epoch() == epoch && l.Imported(moves[has].Partition) {
		has++
	}
	return has
}

func (l *Local) importPartition(m PartitionSnapshot) {
	exact := make(map[bucket.ID]BucketSnapshot, len(m.Buckets))
	for _, k := range m.Buckets {
		exact[k.ID] = k
	}
	for _, mine := range l.ExportBuckets(m.Partition) {
		if _, owes := exact[mine.ID]; !owes {
			exact[mine.ID] = BucketSnapshot{ID: mine.ID, Limit: mine.Limit, Usages: mine.Usages}
		}
	}
	for _, k := range exact {
		l.importBucket(k)
	}
	l.importReservations(m)
}

// importBucket replaces what this node knew of a bucket by what its owner says. Like
// importReservations it does nothing once this node is the owner: the same partition
// may come twice, and what was taken since the first would be lost.
func (l *Local) importBucket(k BucketSnapshot) {
	sh := l.shard(k.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l.role(l.cfg.Partition(k.Account)) != importing {
		return
	}
	delete(sh.copies, k.ID)
	delete(sh.tracked, k.ID)
	k.State.At = l.now()
	l.setEntry(sh, k.ID, entry{})
	l.mergeLocked(sh, k, k.State.At)
	l.installLocked(sh, k)
}
