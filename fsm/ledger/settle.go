package ledger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/cespare/xxhash/v2"

	"quorate/limiter/codec"
)

// An id of a reservation is reservationPrefix and, in base64url, a nonce, the log's time at
// which the id was made, and a keyed check of these and the account. The key is the
// secret in the log, so every replica tells its cluster's ids from made-up ones, and each
// belongs to one account.
const (
	reservationPrefix = "r2-"
	NonceLen          = 10 // bytes; ids of one account and millisecond must not meet
	checkLen          = 12 // bytes
	reservationLen    = NonceLen + 8 + checkLen
)

// SecretLen is the length of the cluster's secret in bytes.
const SecretLen = 32

// Secret is the key of the ids of reservations.
type Secret [SecretLen]byte

// earlierIDs is for how long after the secret is set, in milliseconds, settlements of ids
// without a check are recorded: an earlier program gave them, and they expire after ten
// minutes. The rest is for nodes that apply the secret late.
const earlierIDs = 11 * 60 * 1000

// NewReservation returns the id of a reservation of an account, made at the log's time now.
// Each nonce must be used once.
func NewReservation(secret *Secret, account string, now int64, nonce [NonceLen]byte) string {
	var b [reservationLen]byte
	copy(b[:], nonce[:])
	binary.BigEndian.PutUint64(b[NonceLen:], uint64(now))
	check := reservationCheck(secret, account, b[:NonceLen+8])
	copy(b[NonceLen+8:], check[:])
	return reservationPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

func reservationCheck(secret *Secret, account string, head []byte) (check [checkLen]byte) {
	h := hmac.New(sha256.New, secret[:])
	h.Write(head)
	h.Write([]byte(account)) // the head has a fixed length, so no two inputs are equal
	copy(check[:], h.Sum(nil))
	return check
}

// CheckedReservation reports whether an id has the form of one with a check. Only the
// state machine knows whether the check is right.
func CheckedReservation(id string) bool {
	return strings.HasPrefix(id, reservationPrefix) && len(id) == len(reservationPrefix)+base64.RawURLEncoding.EncodedLen(reservationLen)
}

// openReservation returns the time at which the cluster made an id for the account. ok is
// false if it did not.
func openReservation(secret *Secret, account, id string) (made int64, ok bool) {
	if secret == nil || !CheckedReservation(id) {
		return 0, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(id[len(reservationPrefix):])
	if err != nil {
		return 0, false
	}
	want := reservationCheck(secret, account, b[:NonceLen+8])
	if !hmac.Equal(b[NonceLen+8:], want[:]) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[NonceLen:])), true
}

// settlements is what the ledger knows about the settlements of reservations.
type settlements struct {
	secret *Secret // nil: the log has none
	since  int64   // the log's time at which it got the secret; 0: before any node decided checks
	// Keys of their own: the many settlements of a busy cluster must not make it
	// forget the keys of purchases, and a client that uses the id of a reservation as
	// a key has its own.
	keys   *keyLog
	forgot int64 // time of the newest forgotten key
}

// Secret returns the key of the ids of reservations, nil if the log has none.
func (s *State) Secret() *Secret {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.settled.secret
}

// applySecretLocked sets the secret, unless the log has one.
func (s *State) applySecretLocked(secret Secret) Result {
	if s.settled.secret != nil {
		return Result{}
	}
	s.settled.secret = &secret
	if s.Map().Epoch > 0 {
		s.settled.since = s.now
	}
	return Result{sum: xxhash.Sum64(secret[:]) | 1}
}

// applySettleLocked records the usage that a reservation cost. The time in the id decides
// whether the ledger can still know of an earlier settlement.
func (s *State) applySettleLocked(index uint64, o *Op) Result {
	made, ok := openReservation(s.settled.secret, o.Account, o.Key)
	if !ok {
		if !CheckedReservation(o.Key) && s.earlierLocked() {
			return s.applyEntryLocked(index, o)
		}
		return Result{Err: ErrUnknownReservation, Account: s.current(o.Account)}
	}
	a := s.current(o.Account)
	res := Result{Account: a, Entry: Entry{Key: o.Key, Type: o.Type, Amount: o.Amount, Index: index}}
	s.settled.forgot = s.forgetFromLocked(s.settled.keys, s.settled.forgot)
	res.sum = uint64(s.settled.forgot) | 1<<63
	hash := hashKey(o.Account, o.Key)
	if k := s.settled.keys.get(hash); k != nil && !noDedupe {
		res.Entry.Index = k.index
		if k.typ != o.Type || k.amount != o.Amount {
			return Result{Err: ErrKeyReused, Account: a, sum: res.sum}
		}
		res.Replayed = true
		return res
	}
	if made < max(0, s.now-s.keyMemoryLocked(), s.settled.forgot+1) {
		return Result{Err: ErrKeyExpired, Account: a, sum: res.sum}
	}
	next, err := Charge(a, o.Type, o.Amount)
	if err != nil {
		return Result{Err: err, Account: a, sum: res.sum}
	}
	s.accounts.Load().put(&next)
	// A node can make an id a little ahead of the log's time: see applyEntryLocked.
	s.settled.keys.add(keyRecord{hash: hash, time: max(s.now, made), index: index, amount: o.Amount, typ: o.Type})
	res.Account = next
	return res
}

// earlierLocked reports whether ids without a check may still be in use. In a new cluster
// none ever are: its leader writes the secret before the first ownership map.
func (s *State) earlierLocked() bool {
	if s.settled.secret == nil {
		return s.Map().Epoch > 0
	}
	return s.settled.since != 0 && s.now < s.settled.since+earlierIDs
}

func encodeSecret(w *codec.Writer, secret *Secret, since int64) {
	w.Array(2)
	w.Bytes(secret[:])
	w.Int(since)
}

func (t *settlements) decodeSecret(r *codec.Reader) {
	r.Array(2)
	var secret Secret
	r.Fill(secret[:])
	since := r.Int()
	if r.Err() == nil {
		t.secret, t.since = &secret, since
	}
}
