package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

func makeToken(name string, scopes ledger.Scopes) ledger.Op {
	return ledger.Op{
		Kind: ledger.OpToken, By: "ops",
		Token: &ledger.Token{Name: name, Scopes: scopes, Hash: ledger.HashSecret([]byte("secret of " + name))},
	}
}

func revoke(name string) ledger.Op {
	return ledger.Op{Kind: ledger.OpRevoke, By: "ops", Token: &ledger.Token{Name: name}}
}

func guarded(o ledger.Op) ledger.Op {
	o.Guard = true
	return o
}

func applyOps(t testing.TB, s *ledger.State, ops ...ledger.Op) []ledger.Result {
	t.Helper()
	// Encoded and decoded, as in the log.
	c, err := ledger.DecodeCommand(mustEncode(t, &ledger.Command{Time: 1_700_000_000_000 + int64(s.Index()), Ops: ops}))
	if err != nil {
		t.Fatal(err)
	}
	return s.Apply(s.Index()+1, c)
}

func snapshotOf(t testing.TB, s *ledger.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Freeze().Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTokens(t *testing.T) {
	s := mustState(t)
	find := func(name string) *ledger.Token {
		return s.Tokens().Find(ledger.HashSecret([]byte("secret of " + name)))
	}
	for i, step := range []struct {
		op   ledger.Op
		want error
		left string // names
	}{
		{guarded(makeToken("gate", ledger.ScopeCheck)), ledger.ErrLastAdmin, ""}, // otherwise no token could create others
		{guarded(makeToken("root", ledger.ScopeAdmin)), nil, "root"},
		{guarded(makeToken("gate", ledger.ScopeCheck|ledger.ScopeRead)), nil, "gate root"},
		{makeToken("gate", ledger.ScopeAdmin), ledger.ErrTokenExists, "gate root"},
		{guarded(revoke("root")), ledger.ErrLastAdmin, "gate root"},
		{revoke("nobody"), ledger.ErrUnknownToken, "gate root"},
		{revoke("root"), nil, "gate"}, // on a node with an admin token of its own
		{guarded(revoke("gate")), nil, ""},
		{makeToken("gate", ledger.ScopeCheck), nil, "gate"},
	} {
		err := applyOps(t, s, step.op)[0].Err
		var names []string
		for _, k := range s.Tokens().List() {
			names = append(names, k.Name)
			if find(k.Name) != k {
				t.Errorf("step %d: the secret of %s finds %v", i, k.Name, find(k.Name))
			}
		}
		if !errors.Is(err, step.want) || strings.Join(names, " ") != step.left {
			t.Errorf("step %d: %v, left %v; want %v, %s", i, err, names, step.want, step.left)
		}
	}
	if k := find("root"); k != nil {
		t.Errorf("a revoked secret finds %v", k)
	}
	if k := s.Tokens().Get("gate"); k.Scopes != ledger.ScopeCheck || k.Created == 0 {
		t.Errorf("%+v", k)
	}
	for i := s.Tokens().Len(); i < ledger.MaxTokens; i++ {
		if err := applyOps(t, s, makeToken(fmt.Sprint("t", i), ledger.ScopeRead))[0].Err; err != nil {
			t.Fatal(err)
		}
	}
	if err := applyOps(t, s, makeToken("one too many", ledger.ScopeRead))[0].Err; !errors.Is(err, ledger.ErrTooManyTokens) {
		t.Errorf("token %d: %v", ledger.MaxTokens+1, err)
	}
}

func TestScopes(t *testing.T) {
	for _, name := range []string{"check", "ledger", "read", "admin"} {
		s, ok := ledger.ParseScope(name)
		if !ok || s.String() != name {
			t.Errorf("%s: %v, %v", name, s, ok)
		}
		for _, other := range []ledger.Scopes{ledger.ScopeCheck, ledger.ScopeLedger, ledger.ScopeRead, ledger.ScopeAdmin} {
			if got, want := s.Allow(other), s == other || name == "admin"; got != want {
				t.Errorf("%s allows %s: %v", name, other, got)
			}
		}
	}
	for _, name := range []string{"", "Admin", "write", "check,read"} {
		if s, ok := ledger.ParseScope(name); ok {
			t.Errorf("%q: %v", name, s)
		}
	}
}

func TestAudit(t *testing.T) {
	s := mustState(t)
	policy := string(s.Table().Doc)
	list := &ledger.Overrides{}
	applyOps(
		t, s,
		ledger.Op{Kind: ledger.OpPolicy, Doc: policy, By: "ops"},
		ledger.Op{Kind: ledger.OpPolicy, Doc: "nonsense", By: "ops"},
		ledger.Op{Kind: ledger.OpPolicy, Doc: policy, IfMatch: 99, By: "ops"},
		ledger.Op{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{Overrides: list}},
		ledger.Op{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{Suspended: ptr(true)}, By: "ops"},
		ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: "k", Type: ledger.Purchase, Amount: 1, By: "till"},
		makeToken("gate", ledger.ScopeCheck|ledger.ScopeRead), makeToken("gate", ledger.ScopeCheck), revoke("gate"), revoke("gate"),
		ledger.Op{Kind: ledger.OpNote, By: ledger.ActorNode, Note: &ledger.Note{Action: "node.remove", Target: "n3", Detail: "voter"}},
	)
	// The audit contains only applied operations, newest first.
	var got []string
	records, more := s.Audit(0, 100)
	for _, r := range records {
		got = append(got, fmt.Sprintf("%d %s %s %s %s", r.ID, r.By, r.Action, r.Target, r.Detail))
		if r.Index != s.Index() || r.Time != s.Now() {
			t.Errorf("%+v, want index %d, time %d", r, s.Index(), s.Now())
		}
	}
	expect := []string{
		"5 (node) node.remove n3 voter", "4 ops token.revoke gate ", "3 ops token.create gate check,read",
		"2 (open) overrides.replace acme 0 overrides", "1 ops policy.replace  revision 2",
	}
	if more || !reflect.DeepEqual(got, expect) {
		t.Errorf("got %q, more %v; want %q", got, more, expect)
	}
	if list, more := s.Audit(4, 2); !more || len(list) != 2 || list[0].ID != 3 || list[1].ID != 2 {
		t.Errorf("two before 4: %+v, %v", list, more)
	}
	if list, more := s.Audit(2, 2); more || len(list) != 1 {
		t.Errorf("two before 2: %+v, %v", list, more)
	}
}

// The audit forgets its oldest records, and a list that was read does not change.
func TestAuditIsBounded(t *testing.T) {
	s := mustState(t)
	note := ledger.Op{Kind: ledger.OpNote, Note: &ledger.Note{Action: "node.join", Target: "n1"}}
	ops := make([]ledger.Op, 500)
	for i := range ops {
		ops[i] = note
	}
	var first []ledger.AuditRecord
	for i := range 2*ledger.MaxAudit/len(ops) + 3 {
		applyOps(t, s, ops...)
		if i == 0 {
			first, _ = s.Audit(0, 500)
		}
	}
	list, more := s.Audit(0, 3*ledger.MaxAudit)
	last := uint64(2*ledger.MaxAudit + 3*len(ops))
	if more || len(list) != ledger.MaxAudit || list[0].ID != last || list[len(list)-1].ID != last-ledger.MaxAudit+1 {
		t.Errorf("%d records from %d to %d, more %v", len(list), list[0].ID, list[len(list)-1].ID, more)
	}
	if first[0].ID != 500 || first[499].ID != 1 {
		t.Errorf("what was read has become %d to %d", first[0].ID, first[499].ID)
	}
	// A state that was read back continues alike.
	b := snapshotOf(t, s)
	other, err := ledger.ReadState(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	applyOps(t, s, note)
	applyOps(t, other, note)
	if !bytes.Equal(snapshotOf(t, s), snapshotOf(t, other)) {
		t.Error("two replicas, one from a snapshot, differ")
	}
}

func TestSnapshotKeepsAccess(t *testing.T) {
	s := mustState(t)
	applyOps(t, s, makeToken("root", ledger.ScopeAdmin), makeToken("gate", ledger.ScopeCheck), revoke("gate"))
	frozen := s.Freeze()
	before := snapshotOf(t, s)
	applyOps(t, s, makeToken("later", ledger.ScopeRead))
	var b bytes.Buffer
	if err := frozen.Write(&b); err != nil || !bytes.Equal(b.Bytes(), before) {
		t.Errorf("what was frozen has changed (%v)", err)
	}
	got, err := ledger.ReadState(bytes.NewReader(before))
	if err != nil {
		t.Fatal(err)
	}
	k := got.Tokens().Find(ledger.HashSecret([]byte("secret of root")))
	if k == nil || k.Name != "root" || k.Scopes != ledger.ScopeAdmin || got.Tokens().Len() != 1 {
		t.Errorf("tokens %+v", got.Tokens().List())
	}
	if list, _ := got.Audit(0, 10); len(list) != 3 || list[0].Action != "token.revoke" {
		t.Errorf("audit %+v", list)
	}
	if bytes.Contains(before, []byte("secret of")) {
		t.Error("the snapshot holds a secret")
	}
}

// Replicas with different tokens have different running hashes.
func TestHashCoversAccess(t *testing.T) {
	sums := map[uint64]string{}
	for name, ops := range map[string][]ledger.Op{
		"none":          {{Kind: ledger.OpTick}},
		"a token":       {makeToken("gate", ledger.ScopeCheck)},
		"another scope": {makeToken("gate", ledger.ScopeRead)},
		"another hash":  {{Kind: ledger.OpToken, By: "ops", Token: &ledger.Token{Name: "gate", Scopes: ledger.ScopeCheck}}},
		"another actor": {{Kind: ledger.OpToken, Token: makeToken("gate", 0).Token}},
		"a note":        {{Kind: ledger.OpNote, Note: &ledger.Note{Action: "node.join"}}},
	} {
		s := mustState(t)
		applyOps(t, s, ops...)
		_, sum := s.Hash()
		if sums[sum] != "" {
			t.Errorf("%s and %s have one hash", name, sums[sum])
		}
		sums[sum] = name
	}
}

// A restore restores the tokens of the backup; the audit continues.
func TestRestoreReplacesTokens(t *testing.T) {
	s := mustState(t)
	applyOps(t, s, makeToken("root", ledger.ScopeAdmin), makeToken("old", ledger.ScopeRead))
	var backup bytes.Buffer
	if _, err := s.Freeze().WriteBackup(&backup); err != nil {
		t.Fatal(err)
	}
	applyOps(t, s, revoke("old"), makeToken("new", ledger.ScopeCheck))
	step := func(o ledger.RestoreStep) error {
		o.ID = "r"
		return applyOps(t, s, ledger.Op{Kind: ledger.OpRestore, Restore: &o, By: "ops"})[0].Err
	}
	err := step(ledger.RestoreStep{Kind: ledger.RestoreBegin})
	var seq, sum uint64
	_, read := ledger.ReadBackup(&backup, func(block []byte) error {
		defer func() { seq++ }()
		sum = ledger.RestoreSum(sum, block)
		return step(ledger.RestoreStep{Kind: ledger.RestoreBlock, Seq: seq, Block: block})
	})
	if refused := applyOps(t, s, makeToken("lost", ledger.ScopeRead))[0].Err; !errors.Is(refused, ledger.ErrRestoring) {
		t.Errorf("a token during a restore: %v", refused)
	}
	commit := ledger.RestoreStep{Kind: ledger.RestoreCommit, Seq: seq, Sum: sum}
	if err := errors.Join(err, read, step(commit), step(commit)); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range s.Tokens().List() {
		names = append(names, k.Name)
	}
	list, _ := s.Audit(0, 3)
	if !reflect.DeepEqual(names, []string{"old", "root"}) || list[0].Action != "backup.restore" || list[1].Action != "token.create" || list[1].Target != "new" {
		t.Errorf("tokens %v, audit %+v", names, list)
	}
}
