package ledger_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
	"quorate/testing/golden"
)

// micro is the unit of amounts below version 4.
const micro = ledger.Dollar / 1_000_000

const goldenPolicy = `schema: 1
categories: {llm: {min_tier: 1}}
tiers:
  - {level: 0, spend: "0", limits: {}}
  - {level: 1, spend: "5.00", limits: {llm: [{unit: tokens, limit: 100, window: 1h}]}}
`

func goldenMap() *ledger.Map {
	return &ledger.Map{
		Epoch:    7,
		Members:  []ledger.Member{{ID: "n1", Boot: 1}, {ID: "n2", Boot: 300}, {ID: "n3", Boot: 1 << 40}},
		Places:   [][3]uint16{{0, 1, 2}, {1, 2, 0}, {ledger.NoMember, 0, ledger.NoMember}},
		Moving:   []bool{false, true, false, false, false, false, false, false},
		Grantors: []string{"n1", "n2", "n3"}, Retiring: []string{"n1"},
		Lease: 2 * time.Second, Drift: 40 * time.Millisecond,
	}
}

func goldenOverrides() *ledger.Overrides {
	return &ledger.Overrides{List: []ledger.Override{
		{Match: "Acme/Big*", Given: true, MinTier: ledger.NoMinTier, ExpiresAt: 1 << 45, Limits: []bucket.Scoped{
			bucket.NewScoped("acme/big*", bucket.Limit{Unit: bucket.Tokens, Limit: 10, Burst: 20, Window: 90 * time.Second}, bucket.SourceOverride),
			bucket.NewScoped("acme/big*", bucket.Limit{Algorithm: bucket.SlidingWindow, Limit: 5, Burst: 5, Window: 24 * time.Hour}, bucket.SourceOverride),
		}},
		{Category: "llm", MinTier: 3},
	}}
}

func goldenToken() *ledger.Token {
	return &ledger.Token{Name: "gate", Scopes: ledger.ScopeCheck | ledger.ScopeAdmin, Hash: ledger.HashSecret([]byte("secret"))}
}

// goldenOps are operations of every kind, by name.
func goldenOps() map[string]ledger.Op {
	restore := func(s ledger.RestoreStep) ledger.Op { return ledger.Op{Kind: ledger.OpRestore, Restore: &s} }
	return map[string]ledger.Op{
		"entry/purchase":  {Kind: ledger.OpEntry, Account: "acme", Key: "k1", Type: ledger.Purchase, Amount: 5 * ledger.Dollar},
		"entry/refund":    {Kind: ledger.OpEntry, Account: "acme", Key: "k2", Type: ledger.Refund, Amount: ledger.MaxAmount, Issued: 1_700_000_000_000},
		"entry/by":        {Kind: ledger.OpEntry, Account: "acme", Key: "k3", Type: ledger.Usage, Amount: micro, By: "ops"},
		"patch/nothing":   {Kind: ledger.OpPatch, Account: "acme"},
		"patch/plan":      {Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{Plan: ptr(ledger.Enterprise)}},
		"patch/limit":     {Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{UsageLimit: ptr(70_000 * micro), Suspended: ptr(true)}},
		"patch/no limit":  {Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{UsageLimit: ptr(ledger.NoUsageLimit), Suspended: ptr(false)}},
		"patch/overrides": {Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{Overrides: goldenOverrides()}},
		"patch/none":      {Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{Overrides: &ledger.Overrides{}}},
		"map":             {Kind: ledger.OpMap, Map: goldenMap()},
		"map/empty":       {Kind: ledger.OpMap, Map: &ledger.Map{}},
		"cluster id":      {Kind: ledger.OpClusterID, ClusterID: "0123456789abcdef0123456789abcdef"},
		"policy":          {Kind: ledger.OpPolicy, Doc: "schema: 1", IfMatch: 7},
		"policy/by":       {Kind: ledger.OpPolicy, Doc: "schema: 1", By: "ops"},
		"delete":          {Kind: ledger.OpDelete, Account: "acme"},
		"tick":            {Kind: ledger.OpTick},
		"version":         {Kind: ledger.OpVersion, Version: 1},
		"restore/begin":   restore(ledger.RestoreStep{Kind: ledger.RestoreBegin, ID: "r1"}),
		"restore/block":   restore(ledger.RestoreStep{Kind: ledger.RestoreBlock, ID: "r1", Seq: 3, Block: []byte("block")}),
		"restore/commit":  restore(ledger.RestoreStep{Kind: ledger.RestoreCommit, ID: "r1", Seq: 4, Sum: 1 << 63}),
		"restore/abort":   restore(ledger.RestoreStep{Kind: ledger.RestoreAbort, ID: "r1"}),
		"token":           {Kind: ledger.OpToken, Token: goldenToken(), Guard: true, By: "ops"},
		"revoke":          {Kind: ledger.OpRevoke, Token: &ledger.Token{Name: "gate"}, Guard: true},
		"note":            {Kind: ledger.OpNote, Note: &ledger.Note{Action: "node.join", Target: "n4", Detail: "d"}, By: ledger.ActorNode},
		"remove":          {Kind: ledger.OpRemove, Node: "n4"},
	}
}

// TestCommandsStay: the bytes of commands, which are in logs on disks, and those of
// the messages that carry operations and results are those of earlier versions.
func TestCommandsStay(t *testing.T) {
	f := golden.Open(t, "testdata/commands.txt")
	for name, op := range goldenOps() {
		want := &ledger.Command{Time: 1_700_000_000_123, Ops: []ledger.Op{op}}
		got, err := ledger.DecodeCommand(f.Compare("command/"+name, mustEncode(t, want)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v; want %+v", name, got, err, want)
		}
	}
	var ops []ledger.Op
	for _, name := range []string{"entry/refund", "patch/overrides", "remove", "tick"} {
		ops = append(ops, goldenOps()[name])
	}
	b, err := ledger.EncodeOps(ops)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ledger.DecodeOps(f.Compare("operations", b)); err != nil || !reflect.DeepEqual(got, ops) {
		t.Errorf("operations are read as %+v, %v", got, err)
	}
	results := []ledger.Result{
		{Account: ledger.NewAccount("acme")},
		{Replayed: true, Entry: ledger.Entry{Key: "k", Type: ledger.Refund, Amount: ledger.MaxAmount, Index: 1 << 40}, Account: ledger.Account{
			ID: "acme", Plan: ledger.Scale, Suspended: true, Lifetime: micro, Free: 300 * micro, Purchased: 70_000 * micro, OpenBill: micro << 40, UsageLimit: ledger.NoUsageLimit,
			Overrides: goldenOverrides(),
		}},
		{Revision: 9},
	}
	for _, err := range []error{
		ledger.ErrInsufficientCredits, ledger.ErrOverflow, ledger.ErrKeyReused, ledger.ErrStaleEpoch, ledger.ErrUnknownCommand, ledger.ErrClusterID,
		ledger.ErrKeyExpired, ledger.ErrRevision, ledger.ErrInvalidPolicy, ledger.ErrNotEmpty, ledger.ErrUnknownAccount, ledger.ErrPastExpiry,
		ledger.ErrRestoring, ledger.ErrNoRestore, ledger.ErrBadBackup, ledger.ErrUpgrade, ledger.ErrTokenExists, ledger.ErrTooManyTokens,
		ledger.ErrUnknownToken, ledger.ErrLastAdmin,
	} {
		results = append(results, ledger.Result{Err: err})
	}
	if b, err = ledger.EncodeResults(results, 3); err != nil {
		t.Fatal(err)
	}
	if got, err := ledger.DecodeResults(f.Compare("results", b)); err != nil || !reflect.DeepEqual(got, results) {
		t.Errorf("results are read as %+v, %v", got, err)
	}
	if b, err = goldenMap().Encode(); err != nil {
		t.Fatal(err)
	}
	if got, err := ledger.DecodeMap(f.Compare("ownership map", b)); err != nil || !reflect.DeepEqual(got, goldenMap()) {
		t.Errorf("the ownership map is read as %+v, %v", got, err)
	}
}

// goldenState has records in each section of a snapshot. Its policy is the test's
// own, because the default one may change. It has no ownership map, which has its
// own test and would make up most of the file.
func goldenState(t *testing.T) *ledger.State {
	t.Helper()
	s := mustState(t)
	index := uint64(10)
	next := func(op ledger.Op) {
		t.Helper()
		index++
		if r := apply(s, index, 1_700_000_000_000+int64(index), op); r.Err != nil {
			t.Fatalf("%+v: %v", op, r.Err)
		}
	}
	next(ledger.Op{Kind: ledger.OpPolicy, Doc: goldenPolicy})
	next(ledger.Op{Kind: ledger.OpClusterID, ClusterID: "0123456789abcdef0123456789abcdef"})
	next(ledger.Op{Kind: ledger.OpVersion, Version: 3})
	for _, account := range []string{"acme", "beta", "gamma"} {
		next(purchase(account, "k", "5"))
	}
	next(ledger.Op{Kind: ledger.OpPatch, Account: "acme", By: "ops", Patch: ledger.Patch{
		Plan: ptr(ledger.Scale), UsageLimit: ptr(7 * micro), Overrides: goldenOverrides(),
	}})
	next(ledger.Op{Kind: ledger.OpToken, Token: goldenToken(), By: "ops"})
	next(ledger.Op{Kind: ledger.OpRemove, Node: "n4", By: ledger.ActorNode})
	return s
}

// TestSnapshotsStay: the bytes of snapshots and backups are those of earlier
// versions.
func TestSnapshotsStay(t *testing.T) {
	f := golden.Open(t, "testdata/snapshots.txt")
	s := goldenState(t)
	backup, info := backupOf(t, s)
	golden := f.Compare("backup", backup)
	if got, err := ledger.ReadBackup(bytes.NewReader(golden), nil); err != nil || got != info {
		t.Errorf("the backup is read as %+v, %v; want %+v", got, err, info)
	}
	snapshot := func(name string) {
		t.Helper()
		var buf bytes.Buffer
		if err := s.Freeze().Write(&buf); err != nil {
			t.Fatal(err)
		}
		golden := f.Compare(name, buf.Bytes())
		back, err := ledger.ReadState(bytes.NewReader(golden))
		if err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := back.Freeze().Write(&again); err != nil || !bytes.Equal(again.Bytes(), golden) {
			t.Errorf("%s is written otherwise once it was read, %v", name, err)
		}
		index, sum := s.Hash()
		if gotIndex, gotSum := back.Hash(); gotIndex != index || gotSum != sum {
			t.Errorf("%s: hash %d at %d, want %d at %d", name, gotSum, gotIndex, sum, index)
		}
	}
	snapshot("snapshot")
	ops := steps(t, "r1", backup)
	for i, op := range ops {
		if r := apply(s, 100+uint64(i), 1_700_000_001_000, op); r.Err != nil {
			t.Fatal(r.Err)
		}
		if i == len(ops)-2 {
			snapshot("snapshot/restoring")
		}
	}
	snapshot("snapshot/restored")
}
