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

// Bounds of tokens.
const (
	MaxTokens    = 1000
	MaxTokenName = 64 // bytes
)

// Scopes is a set of what a token allows.
type Scopes uint8

// The scopes. Append only: the numbers are in the log.
const (
	ScopeCheck  Scopes = 1 << iota // decide, settle and release
	ScopeLedger                    // record money
	ScopeRead                      // read everything but tokens, audit and backups
	ScopeAdmin                     // everything

	allScopes = ScopeCheck | ScopeLedger | ScopeRead | ScopeAdmin
)

var scopeNames = [...]string{"check", "ledger", "read", "admin"}

// ParseScope returns the scope of a name.
func ParseScope(name string) (Scopes, bool) {
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

// Allow reports whether one of the wanted scopes is in the set; admin is all.
func (s Scopes) Allow(want Scopes) bool { return s&(want|ScopeAdmin) != 0 }

// ValidTokenName reports whether s names a token: the alphabet of accounts, at
// most 64 bytes.
func ValidTokenName(s string) bool { return validName(s, MaxTokenName) }

// SecretHash is all that is kept of a secret. Secrets have 256 random bits, so
// that a plain SHA-256 cannot be searched.
type SecretHash [sha256.Size]byte

// HashSecret returns the hash of a secret.
func HashSecret(secret []byte) SecretHash { return sha256.Sum256(secret) }

// Token is a name that a secret stands for, and what it allows.
type Token struct {
	Name    string
	Scopes  Scopes
	Hash    SecretHash
	Created int64 // milliseconds since 1970, of the log
}

// Caller is who asks: a token's name or one of the actors, and what it allows.
type Caller struct {
	Name   string
	Scopes Scopes
}

// Tokens are all tokens at one point of the log. They are never changed.
type Tokens struct {
	byName map[string]*Token
	byHash map[SecretHash]*Token
}

// Len returns how many there are.
func (t *Tokens) Len() int { return len(t.byName) }

// Get returns a token by its name, nil where there is none.
func (t *Tokens) Get(name string) *Token { return t.byName[name] }

// Find returns the token of a secret's hash, nil where there is none. How long
// the look-up takes tells at most of hashes, which nobody can choose; the last
// comparison takes the same time whatever it finds.
func (t *Tokens) Find(h SecretHash) *Token {
	k := t.byHash[h]
	if k == nil || subtle.ConstantTimeCompare(k.Hash[:], h[:]) != 1 {
		return nil
	}
	return k
}

// List returns all tokens by name.
func (t *Tokens) List() []*Token {
	return slices.SortedFunc(maps.Values(t.byName), func(a, b *Token) int { return cmp.Compare(a.Name, b.Name) })
}

func newTokens() *Tokens {
	return &Tokens{byName: map[string]*Token{}, byHash: map[SecretHash]*Token{}}
}

// with returns the tokens and one more, in the place of any of its name.
func (t *Tokens) with(k *Token) *Tokens {
	next := t.without(k.Name)
	next.byName[k.Name], next.byHash[k.Hash] = k, k
	return next
}

// without returns the tokens but for one.
func (t *Tokens) without(name string) *Tokens {
	next := &Tokens{byName: maps.Clone(t.byName), byHash: maps.Clone(t.byHash)}
	if k := t.byName[name]; k != nil {
		delete(next.byName, name)
		delete(next.byHash, k.Hash)
	}
	return next
}

// locksOut reports whether the tokens would leave nobody to make or revoke any.
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
