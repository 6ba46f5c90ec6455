package auth

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

func state(t testing.TB, tokens map[string]ledger.Scopes) *ledger.State {
	t.Helper()
	s, err := ledger.NewState()
	if err != nil {
		t.Fatal(err)
	}
	for secret, scopes := range tokens {
		op := ledger.Op{Kind: ledger.OpToken, Token: &ledger.Token{Name: "of-" + secret, Scopes: scopes, Hash: ledger.HashSecret([]byte(secret))}}
		s.Apply(s.Index()+1, &ledger.Command{Ops: []ledger.Op{op}})
	}
	return s
}

func TestAuthenticate(t *testing.T) {
	admin := strings.Repeat("a", MinAdminToken)
	open := ledger.Caller{Name: ledger.ActorOpen, Scopes: ledger.ScopeAdmin}
	node := ledger.Caller{Name: ledger.ActorNode, Scopes: ledger.ScopeAdmin}
	gate := ledger.Caller{Name: "of-gate", Scopes: ledger.ScopeCheck}
	none, early := ledger.Caller{}, ledger.Caller{Name: ledger.ActorOpen}
	for _, tt := range []struct {
		name   string
		tokens map[string]ledger.Scopes
		admin  []string
		lags   bool // the node has not caught up
		token  string
		want   ledger.Caller
	}{
		{"no token in force", nil, nil, false, "", open},
		{"no token in force, one sent", nil, nil, false, "anything", open},
		{"not known yet", nil, nil, true, "", open}, // and not admitted
		{"none sent", map[string]ledger.Scopes{"gate": ledger.ScopeCheck}, nil, false, "", none},
		{"a valid one", map[string]ledger.Scopes{"gate": ledger.ScopeCheck}, nil, false, "gate", gate},
		{"a valid one early: it may have been revoked", map[string]ledger.Scopes{"gate": ledger.ScopeCheck}, nil, true, "gate", early},
		{"an invalid one early: it may have been created", map[string]ledger.Scopes{"gate": ledger.ScopeCheck}, nil, true, "x", early},
		{"the node's own early", map[string]ledger.Scopes{"gate": ledger.ScopeCheck}, []string{admin}, true, admin, node},
		{"an invalid one", map[string]ledger.Scopes{"gate": ledger.ScopeCheck}, nil, false, "gatf", none},
		{"its beginning", map[string]ledger.Scopes{"gate": ledger.ScopeCheck}, nil, false, "gat", none},
		{"too long", nil, []string{admin}, false, strings.Repeat("a", MaxToken+1), none},
		{"the node's own", map[string]ledger.Scopes{"gate": ledger.ScopeCheck}, []string{strings.ToUpper(admin), admin}, false, admin, node},
		{"only the node's own, none sent", nil, []string{admin}, false, "", none},
		{"beside the node's own", map[string]ledger.Scopes{"gate": ledger.ScopeCheck}, []string{admin}, false, "gate", gate},
	} {
		k := New(state(t, tt.tokens).Tokens, func() bool { return !tt.lags })
		if err := k.SetAdmin(tt.admin); err != nil {
			t.Fatal(err)
		}
		got, ok := k.Authenticate([]byte(tt.token))
		if got != tt.want || ok != (tt.want != none && tt.want != early && (tt.want != open || !tt.lags)) {
			t.Errorf("%s: %+v, %v", tt.name, got, ok)
		}
		if k.Guarded() != (len(tt.admin) > 0) || k.Required() != (len(tt.admin)+len(tt.tokens) > 0) {
			t.Errorf("%s: guarded %v, required %v", tt.name, k.Guarded(), k.Required())
		}
	}
}

func TestAdminTokensThatAreRefused(t *testing.T) {
	good := NewSecret()
	k := New(state(t, nil).Tokens, func() bool { return true })
	if err := k.SetAdmin([]string{good}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]string{
		{"short"}, {good, ""}, {strings.Repeat("x", MaxToken+1)}, {good[:20] + " " + good[20:]}, {good + "\n"}, {good + "é"}, make([]string, MaxAdmin+1),
	} {
		err := k.SetAdmin(bad)
		if !errors.Is(err, ErrAdminToken) {
			t.Errorf("%q: %v", bad, err)
		}
		for _, s := range bad {
			if s != "" && strings.Contains(err.Error(), s) {
				t.Errorf("the error shows the token: %v", err)
			}
		}
		if _, ok := k.Authenticate([]byte(good)); !ok {
			t.Errorf("%q: the one in force is gone", bad)
		}
	}
}

func TestSecrets(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if len(a) != len(prefix)+52 || a == b || ValidAdmin([]string{a, b}) != nil {
		t.Errorf("%q, %q", a, b)
	}
	if got := Secrets("# the new one\n " + a + "\r\n\n" + b); !reflect.DeepEqual(got, []string{a, b}) {
		t.Errorf("%q", got)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	secret := NewSecret()
	k := New(state(b, map[string]ledger.Scopes{secret: ledger.ScopeCheck}).Tokens, func() bool { return true })
	if err := k.SetAdmin([]string{NewSecret()}); err != nil {
		b.Fatal(err)
	}
	token := []byte(secret)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := k.Authenticate(token); !ok {
			b.Fatal("not found")
		}
	}
}
