// Package auth authenticates callers: it returns the name and the scopes of a token.
// The tokens are part of the replicated state. In addition, a node can have admin
// tokens of its own, which are needed to create the first token or to replace a lost
// one.
package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"quorate/fsm/ledger"
)

// prefix is the start of every secret, so that scanners for leaked secrets can find
// them.
const prefix = "quorate_"

// The limits of tokens.
const (
	MaxAdmin      = 8   // admin tokens of one node
	MinAdminToken = 32  // bytes
	MaxToken      = 512 // bytes; Authenticate refuses longer tokens without a look-up
)

// ErrAdminToken is wrapped by the errors of SetAdmin.
var ErrAdminToken = errors.New("invalid admin token")

// NewSecret returns a secret of 260 random bits.
func NewSecret() string { return prefix + strings.ToLower(rand.Text()+rand.Text()) }

// Keeper authenticates callers. Its methods may be called concurrently.
type Keeper struct {
	tokens   func() *ledger.Tokens
	caughtUp func() bool
	admin    atomic.Pointer[[]ledger.SecretHash]

	// Unknown counts the tokens that belonged to no caller.
	Unknown atomic.Uint64
}

// New returns a Keeper of the replicated tokens. Until caughtUp returns true, tokens may
// exist or have been revoked without this node knowing it, so the Keeper accepts only
// the node's own admin tokens.
func New(tokens func() *ledger.Tokens, caughtUp func() bool) *Keeper {
	k := &Keeper{tokens: tokens, caughtUp: caughtUp}
	k.admin.Store(&[]ledger.SecretHash{})
	return k
}

// SetAdmin replaces this node's own admin tokens. On an error, which wraps
// ErrAdminToken, it keeps the old ones.
func (k *Keeper) SetAdmin(secrets []string) error {
	if err := ValidAdmin(secrets); err != nil {
		return err
	}
	hashes := make([]ledger.SecretHash, 0, len(secrets))
	for _, s := range secrets {
		hashes = append(hashes, ledger.HashSecret([]byte(s)))
	}
	k.admin.Store(&hashes)
	return nil
}

// ValidAdmin returns an error that wraps ErrAdminToken if an admin token is invalid. The
// error does not contain the token.
func ValidAdmin(secrets []string) error {
	if len(secrets) > MaxAdmin {
		return fmt.Errorf("%w: got %d, want at most %d", ErrAdminToken, len(secrets), MaxAdmin)
	}
	for i, s := range secrets {
		bad := func(r rune) bool { return r <= ' ' || r > '~' }
		if len(s) < MinAdminToken || len(s) > MaxToken || strings.ContainsFunc(s, bad) {
			return fmt.Errorf("%w: number %d has %d bytes: want %d to %d printable characters without spaces, such as `quorate token generate` prints",
				ErrAdminToken, i+1, len(s), MinAdminToken, MaxToken)
		}
	}
	return nil
}

// Guarded reports whether this node has an admin token of its own, so that no change of
// the replicated tokens can lock out all administrators.
func (k *Keeper) Guarded() bool { return len(*k.admin.Load()) > 0 }

// Required reports whether callers need a token.
func (k *Keeper) Required() bool { return k.Guarded() || k.tokens().Len() > 0 }

// Authenticate returns the caller that the token belongs to; an empty token means that
// the caller has none. It returns false if the token is not valid. If no tokens are
// required, the caller is ledger.ActorOpen with all scopes. If the node has not caught up
// and cannot decide yet, Authenticate returns ledger.ActorOpen and false.
func (k *Keeper) Authenticate(token []byte) (ledger.Caller, bool) {
	if !k.Required() {
		return ledger.Caller{Name: ledger.ActorOpen, Scopes: ledger.ScopeAdmin}, k.caughtUp()
	}
	if len(token) == 0 || len(token) > MaxToken {
		return ledger.Caller{}, false
	}
	h := ledger.HashSecret(token)
	if t := k.tokens().Find(h); t != nil && k.caughtUp() {
		return ledger.Caller{Name: t.Name, Scopes: t.Scopes}, true
	}
	// Compare with all of them, so that the time does not depend on which one matches.
	found := 0
	for _, admin := range *k.admin.Load() {
		found |= subtle.ConstantTimeCompare(admin[:], h[:])
	}
	if found == 1 {
		return ledger.Caller{Name: ledger.ActorNode, Scopes: ledger.ScopeAdmin}, true
	}
	if !k.caughtUp() {
		return ledger.Caller{Name: ledger.ActorOpen}, false
	}
	k.Unknown.Add(1)
	return ledger.Caller{}, false
}

// Secrets returns the secrets in a text, one per line. It ignores empty lines and lines
// that begin with #.
func Secrets(text string) []string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" || l[0] == '#' })
}
