// Package auth knows who asks: it finds the name and the scopes behind a
// token. Tokens live in the replicated state; beside them a node can have admin
// tokens of its own, so that a first token can be made and a lost one replaced.
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

// prefix begins every secret that is made here, so that scanners for leaked
// secrets have something to look for.
const prefix = "quorate_"

// Bounds of admin tokens.
const (
	MaxAdmin      = 8   // of one node, so that one can follow another
	MinAdminToken = 32  // bytes
	MaxToken      = 512 // bytes of any token that is looked at
)

// ErrAdminToken is wrapped by the errors of SetAdmin.
var ErrAdminToken = errors.New("admin token cannot be used")

// NewSecret returns a secret of 260 random bits.
func NewSecret() string { return prefix + strings.ToLower(rand.Text()+rand.Text()) }

// Keeper finds who asks. Its methods may overlap.
type Keeper struct {
	tokens func() *ledger.Tokens
	known  func() bool
	admin  atomic.Pointer[[]ledger.SecretHash]

	// Unknown counts the tokens that were nobody's.
	Unknown atomic.Uint64
}

// New returns a keeper of the tokens in force. Until known returns true, tokens
// may have been made or revoked that this node has not heard of: only its own let
// anybody in.
func New(tokens func() *ledger.Tokens, known func() bool) *Keeper {
	k := &Keeper{tokens: tokens, known: known}
	k.admin.Store(&[]ledger.SecretHash{})
	return k
}

// SetAdmin replaces this node's own admin tokens. An error leaves those in
// force.
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

// ValidAdmin reports what is wrong with admin tokens, without showing them.
func ValidAdmin(secrets []string) error {
	if len(secrets) > MaxAdmin {
		return fmt.Errorf("%w: there are %d, at most %d", ErrAdminToken, len(secrets), MaxAdmin)
	}
	for i, s := range secrets {
		bad := func(r rune) bool { return r <= ' ' || r > '~' }
		if len(s) < MinAdminToken || len(s) > MaxToken || strings.ContainsFunc(s, bad) {
			return fmt.Errorf("%w: number %d has %d bytes: want %d to %d printable ones without space, such as `quorate token generate` makes",
				ErrAdminToken, i+1, len(s), MinAdminToken, MaxToken)
		}
	}
	return nil
}

// Guarded reports whether this node has an admin token of its own: then no
// change of tokens can lock everybody out.
func (k *Keeper) Guarded() bool { return len(*k.admin.Load()) > 0 }

// Asks reports whether a token is asked for.
func (k *Keeper) Asks() bool { return k.Guarded() || k.tokens().Len() > 0 }

// Who returns whose the token is; empty is none. Without any token in force
// everybody may do everything. Where that cannot be known yet, the answer is
// ledger.ActorOpen and false.
func (k *Keeper) Who(token []byte) (ledger.Caller, bool) {
	if !k.Asks() {
		return ledger.Caller{Name: ledger.ActorOpen, Scopes: ledger.ScopeAdmin}, k.known()
	}
	if len(token) == 0 || len(token) > MaxToken {
		return ledger.Caller{}, false
	}
	h := ledger.HashSecret(token)
	if t := k.tokens().Find(h); t != nil && k.known() {
		return ledger.Caller{Name: t.Name, Scopes: t.Scopes}, true
	}
	// All of them, so that the time tells nothing.
	found := 0
	for _, admin := range *k.admin.Load() {
		found |= subtle.ConstantTimeCompare(admin[:], h[:])
	}
	if found == 1 {
		return ledger.Caller{Name: ledger.ActorNode, Scopes: ledger.ScopeAdmin}, true
	}
	if !k.known() {
		return ledger.Caller{Name: ledger.ActorOpen}, false
	}
	k.Unknown.Add(1)
	return ledger.Caller{}, false
}

// Secrets reads secrets, one a line; empty lines and those that begin with #
// are left out.
func Secrets(text string) []string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" || l[0] == '#' })
}
