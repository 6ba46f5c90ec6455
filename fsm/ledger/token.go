package ledger

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"slices"
	"strings"

	"quorate/limiter/codec"
)

// The limits of tokens.
const (
	MaxTokens    = 1000
	MaxTokenName = 64 // bytes
)

// Scopes is a set of scopes.
type Scopes uint8

// The scopes. Append only: the numbers are in the log.
const (
	ScopeCheck  Scopes = 1 << iota // decide, settle and release
	ScopeLedger                    // record payments and usage
	ScopeRead                      // read everything except tokens, audit and backups
	ScopeAdmin                     // everything

	allScopes = ScopeCheck | ScopeLedger | ScopeRead | ScopeAdmin
)

var scopeNames = [...]string{"check", "ledger", "read", "admin"}

// ParseScope returns the scope with a name; ok is false if there is none.
func ParseScope(name string) (s Scopes, ok bool) {
	at := slices.Index(scopeNames[:], name)
	if at < 0 {
		return 0, false
	}
	return 1 << at, true
}

// Names returns the names of the scopes in the set.
func (s Scopes) Names() []string {
	names := make([]string, 0, len(scopeNames))
	for i, name := range scopeNames {
		if s>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return names
}

// String returns the names with commas between them.
func (s Scopes) String() string { return strings.Join(s.Names(), ",") }

// Allow reports whether the set contains one of the wanted scopes, or admin.
func (s Scopes) Allow(want Scopes) bool { return s&(want|ScopeAdmin) != 0 }

// ValidTokenName reports whether s is a valid name of a token: the alphabet of account
// ids, at most 64 bytes.
func ValidTokenName(s string) bool { return validName(s, MaxTokenName) }

// SecretHash is the SHA-256 of a secret; the secret itself is not stored. Secrets have 256
// random bits, so a fast hash is safe.
type SecretHash [sha256.Size]byte

// HashSecret returns the hash of a secret.
func HashSecret(secret []byte) SecretHash { return sha256.Sum256(secret) }

// Token is the name and the scopes of a secret.
type Token struct {
	Name    string
	Scopes  Scopes
	Hash    SecretHash
	Created int64 // the log's time in milliseconds since 1970
}

// Caller is an authenticated caller: the name of a token or an Actor constant, and the
// caller's scopes.
type Caller struct {
	Name   string
	Scopes Scopes
}

// Tokens holds all tokens at one point of the log. It is immutable.
type Tokens struct {
	byName map[string]*Token
	byHash map[SecretHash]*Token
}

// Len returns the number of tokens.
func (t *Tokens) Len() int { return len(t.byName) }

// Get returns the token with a name, nil if there is none.
func (t *Tokens) Get(name string) *Token { return t.byName[name] }

// Find returns the token with the hash of a secret, nil if there is none. The time of the
// map look-up reveals information only about hashes, which a client cannot choose; the
// final comparison takes constant time.
func (t *Tokens) Find(h SecretHash) *Token {
	k := t.byHash[h]
	if k == nil || subtle.ConstantTimeCompare(k.Hash[:], h[:]) != 1 {
		return nil
	}
	return k
}

// List returns all tokens, sorted by name.
func (t *Tokens) List() []*Token {
	return slices.SortedFunc(maps.Values(t.byName), func(a, b *Token) int { return cmp.Compare(a.Name, b.Name) })
}

func newTokens() *Tokens {
	return &Tokens{byName: map[string]*Token{}, byHash: map[SecretHash]*Token{}}
}

// with returns a copy with the token added, or replaced if its name exists.
func (t *Tokens) with(k *Token) *Tokens {
	next := t.without(k.Name)
	next.byName[k.Name], next.byHash[k.Hash] = k, k
	return next
}

// without returns a copy without the token of that name.
func (t *Tokens) without(name string) *Tokens {
	next := &Tokens{byName: maps.Clone(t.byName), byHash: maps.Clone(t.byHash)}
	if k := t.byName[name]; k != nil {
		delete(next.byName, name)
		delete(next.byHash, k.Hash)
	}
	return next
}

// locksOut reports whether no token could create or revoke tokens.
func (t *Tokens) locksOut() bool {
	for _, k := range t.byName {
		if k.Scopes.Allow(ScopeAdmin) {
			return false
		}
	}
	return len(t.byName) > 0
}

// Tokens returns the tokens in force.
func (s *State) Tokens() *Tokens { return s.tokens.Load() }

func (s *State) applyTokenLocked(o *Op) error {
	was := s.Tokens()
	switch {
	case was.Get(o.Token.Name) != nil:
		return ErrTokenExists
	case was.Len() >= MaxTokens:
		return ErrTooManyTokens
	}
	k := *o.Token
	k.Created = s.now
	return s.storeTokens(o, was.with(&k))
}

func (s *State) applyRevoke(o *Op) error {
	was := s.Tokens()
	if was.Get(o.Token.Name) == nil {
		return ErrUnknownToken
	}
	return s.storeTokens(o, was.without(o.Token.Name))
}

func (s *State) storeTokens(o *Op, next *Tokens) error {
	if o.Guard && next.locksOut() {
		return ErrLastAdmin
	}
	s.tokens.Store(next)
	return nil
}

func (k *Token) encode(w *codec.Writer) {
	w.Array(4)
	w.String(k.Name)
	w.Uint(uint64(k.Scopes))
	w.Bytes(k.Hash[:])
	w.Int(k.Created)
}

func (k *Token) decode(r *codec.Reader) {
	r.Array(4)
	k.Name = r.String(MaxTokenName)
	k.Scopes = Scopes(r.Below(int(allScopes) + 1))
	r.Fill(k.Hash[:])
	k.Created = r.Int()
}
