package ledger

import "crypto/sha256"

// The limits of remembered idempotency keys until the log has settings for them.
const (
	KeyWindow = 24 * 60 * 60 * 1000 // milliseconds of the log's time
	MaxKeys   = 4_000_000
)

// IssuedAhead is the maximum by which the issue time of an entry may be ahead of the
// log's time, in milliseconds.
const IssuedAhead = 60 * 1000

// evictions is the maximum number of keys that one operation forgets.
const evictions = 8

// keyHash identifies an idempotency key of an account. It is 128 bits of SHA-256: with a
// weaker hash a client could choose two keys that collide, and lose an entry.
type keyHash [16]byte

func hashKey(account, key string) (h keyHash) {
	var room [1 + 128 + MaxKey]byte
	b := append(room[:0], byte(len(account)))
	b = append(append(b, account...), key...)
	sum := sha256.Sum256(b)
	copy(h[:], sum[:])
	return h
}

// keyRecord is the record of an applied entry under its key.
type keyRecord struct {
	hash   keyHash
	time   int64
	index  uint64
	amount Money
	typ    EntryType
}

const chunkLen = 4096

type chunk [chunkLen]keyRecord

// keyLog holds the records, oldest first. Records are immutable, so a copy of the list of
// chunks is a copy of the log.
type keyLog struct {
	chunks     []*chunk
	head, tail int    // positions of the oldest record and behind the newest, from the first chunk
	base       uint64 // number of the first record in the first chunk; numbers are consecutive

	// byHash maps a hash to the number of its record. Numbers, unlike pointers, need
	// no scan by the garbage collector.
	byHash map[keyHash]uint64
	max    int // number of records above which the oldest is forgotten
}

func newKeyLog() *keyLog { return &keyLog{byHash: map[keyHash]uint64{}, max: MaxKeys} }

func (l *keyLog) len() int { return l.tail - l.head }

func (l *keyLog) get(h keyHash) *keyRecord {
	n, ok := l.byHash[h]
	if !ok {
		return nil
	}
	at := n - l.base
	return &l.chunks[at/chunkLen][at%chunkLen]
}

func (l *keyLog) add(r keyRecord) {
	if l.tail == len(l.chunks)*chunkLen {
		l.chunks = append(l.chunks, new(chunk))
	}
	l.chunks[l.tail/chunkLen][l.tail%chunkLen] = r
	l.byHash[r.hash] = l.base + uint64(l.tail)
	l.tail++
}

func (l *keyLog) oldest() *keyRecord {
	if l.head == l.tail {
		return nil
	}
	return &l.chunks[0][l.head]
}

func (l *keyLog) forget() {
	delete(l.byHash, l.chunks[0][l.head].hash)
	if l.head++; l.head == chunkLen {
		l.chunks = append([]*chunk(nil), l.chunks[1:]...)
		l.head, l.tail, l.base = 0, l.tail-chunkLen, l.base+chunkLen
	}
}

// freeze returns a copy of the log without byHash.
func (l *keyLog) freeze() keyLog {
	return keyLog{chunks: append([]*chunk(nil), l.chunks...), head: l.head, tail: l.tail}
}

// each calls fn for every record, oldest first.
func (l *keyLog) each(fn func(*keyRecord)) {
	for i := l.head; i < l.tail; i++ {
		fn(&l.chunks[i/chunkLen][i%chunkLen])
	}
}
