package exchange

import (
	"quorate/limiter"
	"quorate/limiter/codec"
)

// Bounds of a handoff.
const (
	pageBytes       = 256 << 10 // from this size on a message is full
	maxPieces       = 1 << 16   // of one partition
	maxReservations = 65536     // reservations in a message
	maxHolds        = 64        // buckets of one reservation
	maxPartition    = 1 << 22   // buckets and reservations of one partition
)

// piece is a part of a partition that is handed off: all of it, if it fits a message.
type piece struct {
	limiter.PartitionSnapshot
	at   int  // its number within the partition
	last bool // it is the last of the partition
}

// handoffBatch is one message of a handoff.
type handoffBatch struct {
	try  uint64 // pieces of one attempt belong together
	last []bool // by piece
	body *writer
}

// add moves as much of a partition into the batch as there is room for, as a piece,
// and reports whether that was all.
func (b *handoffBatch) add(at int, m *limiter.PartitionSnapshot) (last bool) {
	size := b.body.Len()
	known, reserved := newWriter(), newWriter()
	n := 0
	for ; n < len(m.Buckets) && size+known.Len() < pageBytes; n++ {
		known.bucket(&m.Buckets[n])
	}
	k := 0
	for ; k < len(m.Reservations) && size+known.Len()+reserved.Len() < pageBytes; k++ {
		reserved.reservation(&m.Reservations[k])
	}
	m.Buckets, m.Reservations = m.Buckets[n:], m.Reservations[k:]
	last = len(m.Buckets)+len(m.Reservations) == 0
	b.body.Uint(uint64(m.Partition))
	b.body.Uint(uint64(at))
	b.body.Bool(last)
	b.body.append(n, known)
	b.body.append(k, reserved)
	b.last = append(b.last, last)
	return last
}

func (b *handoffBatch) message(epoch uint64) ([]byte, error) {
	w := newWriter()
	w.Byte(kindHandoff)
	w.Uint(epoch)
	w.Uint(b.try)
	w.append(len(b.last), b.body)
	return w.Finish()
}

// piece reads a piece of one of so many partitions.
func (r *reader) piece(partitions int) (p piece) {
	p.Partition = int(r.IntIn(0, int64(partitions-1)))
	p.at = int(r.IntIn(0, maxPieces-1))
	p.last = r.Bool()
	p.Buckets = codec.List(r.Reader, maxBuckets, r.bucket)
	p.Reservations = codec.List(r.Reader, maxReservations, r.reservation)
	return p
}

// incomingPartition is a partition of which some pieces have arrived.
type incomingPartition struct {
	epoch, try uint64
	next       int // the number of the first piece that is missing
	limiter.PartitionSnapshot
}

// importPieces imports the partitions of which all pieces have arrived. It returns how
// many pieces, from the first, this node has kept.
func (e *Exchange) importPieces(epoch, try uint64, pieces []piece) (n int) {
	var moves []limiter.PartitionSnapshot
	var ends []int // by partition: the number of pieces up to its last
	for ; n < len(pieces); n++ {
		m, ok := e.joinPiece(epoch, try, &pieces[n])
		if !ok {
			break
		}
		if pieces[n].last {
			moves, ends = append(moves, m), append(ends, n+1)
		}
	}
	if has := e.Local.ImportPartitions(epoch, moves...); has < len(moves) {
		return append([]int{0}, ends...)[has]
	}
	return n
}

// joinPiece joins a piece to those before it, and returns the partition with the last.
// ok is false if a piece before it is missing.
func (e *Exchange) joinPiece(epoch, try uint64, p *piece) (m limiter.PartitionSnapshot, ok bool) {
	if p.at == 0 && p.last {
		return p.PartitionSnapshot, true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for p, c := range e.incoming {
		if c.epoch != epoch {
			delete(e.incoming, p) // of an earlier map
		}
	}
	c := e.incoming[p.Partition]
	if p.at == 0 {
		c = &incomingPartition{epoch: epoch, try: try, PartitionSnapshot: limiter.PartitionSnapshot{Partition: p.Partition}}
		e.incoming[p.Partition] = c
	}
	if c == nil || c.try != try || c.next != p.at {
		return m, false
	}
	if len(c.Buckets)+len(c.Reservations)+len(p.Buckets)+len(p.Reservations) > maxPartition {
		e.Log.Error("a partition is too large to be taken over", "partition", p.Partition, "most", maxPartition)
		delete(e.incoming, p.Partition)
		return m, false
	}
	c.Buckets, c.Reservations = append(c.Buckets, p.Buckets...), append(c.Reservations, p.Reservations...)
	if c.next++; p.last {
		delete(e.incoming, p.Partition)
	}
	return c.PartitionSnapshot, true
}
