package exchange

import "quorate/limiter"

// Bounds of a handover.
const (
	maxPieces   = 1 << 16 // of one partition
	maxReserved = 65536   // reservations in a message
	maxTakes    = 64      // buckets of one reservation
	maxMove     = 1 << 22 // buckets and reservations of one partition
)

// piece is a part of what a partition's taker must have: all of it, where it
// fits a message.
type piece struct {
	limiter.Move
	at   int  // its number in the partition
	last bool // the partition is whole
}

// parcel is a message of a handover.
type parcel struct {
	try  uint64 // pieces of one try belong together
	last []bool // by piece
	body *writer
}

// add adds a piece, with as much of what is left of a partition as there is room
// for, and cuts it off that. It reports whether that was all.
func (b *parcel) add(at int, m *limiter.Move) (last bool) {
	size := b.body.buf.Len()
	known, reserved := newWriter(), newWriter()
	n := 0
	for ; n < len(m.Known) && size+known.buf.Len() < pageBytes; n++ {
		known.known(&m.Known[n])
	}
	k := 0
	for ; k < len(m.Reserved) && size+known.buf.Len()+reserved.buf.Len() < pageBytes; k++ {
		reserved.reserved(&m.Reserved[k])
	}
	m.Known, m.Reserved = m.Known[n:], m.Reserved[k:]
	last = len(m.Known)+len(m.Reserved) == 0
	b.body.uint(uint64(m.Partition))
	b.body.uint(uint64(at))
	b.body.bool(last)
	b.body.append(n, known)
	b.body.append(k, reserved)
	b.last = append(b.last, last)
	return last
}

func (b *parcel) message(epoch uint64) ([]byte, error) {
	w := newWriter()
	w.buf.WriteByte(kindHand)
	w.uint(epoch)
	w.uint(b.try)
	w.append(len(b.last), b.body)
	return w.bytes()
}

// piece reads a piece of one of so many partitions.
func (r *reader) piece(partitions int) (p piece) {
	p.Partition = int(r.int(0, int64(partitions-1)))
	p.at = int(r.int(0, maxPieces-1))
	p.last = r.bool()
	p.Known = list(r, maxKnown, r.known)
	p.Reserved = list(r, maxReserved, r.reserved)
	return p
}

// coming is a partition of which not all pieces have come yet.
type coming struct {
	epoch, try uint64
	next       int // the number of the piece that is missing
	limiter.Move
}

// receive takes over the partitions of which all pieces have come, and returns how
// many pieces, from the first, it has kept.
func (e *Exchange) receive(epoch, try uint64, pieces []piece) (n int) {
	var moves []limiter.Move
	var ends []int // by move: how many pieces end with it
	for ; n < len(pieces); n++ {
		m, ok := e.join(epoch, try, &pieces[n])
		if !ok {
			break
		}
		if pieces[n].last {
			moves, ends = append(moves, m), append(ends, n+1)
		}
	}
	if has := e.Local.Receive(epoch, moves...); has < len(moves) {
		return append([]int{0}, ends...)[has]
	}
	return n
}

// join joins a piece to those before it, and returns the partition when it is the
// last. ok is false for a piece without those before it.
func (e *Exchange) join(epoch, try uint64, p *piece) (m limiter.Move, ok bool) {
	if p.at == 0 && p.last {
		return p.Move, true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for p, c := range e.coming {
		if c.epoch != epoch {
			delete(e.coming, p) // the map has moved on
		}
	}
	c := e.coming[p.Partition]
	if p.at == 0 {
		c = &coming{epoch: epoch, try: try, Move: limiter.Move{Partition: p.Partition}}
		e.coming[p.Partition] = c
	}
	if c == nil || c.try != try || c.next != p.at {
		return m, false
	}
	if len(c.Known)+len(c.Reserved)+len(p.Known)+len(p.Reserved) > maxMove {
		e.Log.Error("a partition is too large to be taken over", "partition", p.Partition, "most", maxMove)
		delete(e.coming, p.Partition)
		return m, false
	}
	c.Known, c.Reserved = append(c.Known, p.Known...), append(c.Reserved, p.Reserved...)
	if c.next++; p.last {
		delete(e.coming, p.Partition)
	}
	return c.Move, true
}
