package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"quorate/fsm/ledger"
	"quorate/testing/golden"
)

func entry(typ ledger.EntryType, key, amount string) ledger.Op {
	return ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: key, Type: typ, Amount: usd(amount)}
}

func limit(amount string) ledger.Op {
	return ledger.Op{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{UsageLimit: ptr(usd(amount))}}
}

// TestVersionsOfContent: an operation has the version that its content needs, and its
// bytes say so. Programs of an earlier version stop at it and do not skip it.
func TestVersionsOfContent(t *testing.T) {
	finePolicy := strings.Replace(goldenPolicy, "5.00", "5.0000001", 1)
	block := func(section byte) ledger.Op {
		return ledger.Op{Kind: ledger.OpRestore, Restore: &ledger.RestoreStep{Kind: ledger.RestoreBlock, ID: "r", Block: []byte{section, 0, 0, 0, 0}}}
	}
	for _, tt := range []struct {
		name string
		op   ledger.Op
		want uint64
	}{
		{"micro-dollars", entry(ledger.Usage, "k", "0.000001"), 1},
		{"nano-dollars", entry(ledger.Usage, "k", "0.000000001"), 4},
		{"a micro-dollar and a half", entry(ledger.Usage, "k", "0.0000015"), 4},
		{"zeros behind micro-dollars", entry(ledger.Usage, "k", "0.000001000"), 1},
		{"refund", entry(ledger.Refund, "k", "1"), 1},
		{"chargeback", entry(ledger.Chargeback, "k", "1"), 4},
		{"usage reversal", entry(ledger.UsageReversal, "k", "1"), 4},
		{"no limit", ledger.Op{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{UsageLimit: ptr(ledger.NoUsageLimit)}}, 1},
		{"a limit", limit("0.000001"), 1},
		{"a fine limit", limit("0.0000011"), 4},
		{"a policy", ledger.Op{Kind: ledger.OpPolicy, Doc: goldenPolicy}, 1},
		{"a policy with a fine spend", ledger.Op{Kind: ledger.OpPolicy, Doc: finePolicy}, 4},
		{"accounts of a backup", block(3), 2},
		{"accounts of a backup, in nano-dollars", block(6), 4},
		{"keys of a backup, in nano-dollars", block(7), 4},
	} {
		ops := []ledger.Op{tt.op}
		if got := ledger.VersionOf(ops); got != tt.want {
			t.Errorf("%s: version %d, want %d", tt.name, got, tt.want)
		}
		b := mustEncode(t, &ledger.Command{Ops: ops})
		if b[1] != byte(tt.want) {
			t.Errorf("%s: the command says version %d, want %d", tt.name, b[1], tt.want)
		}
		if c, err := ledger.DecodeCommand(b); err != nil || !reflect.DeepEqual(c.Ops, ops) {
			t.Errorf("%s is read as %+v, %v", tt.name, c, err)
		}
		// An operation of version 4 in a command that says 3 is what a program of that
		// version would skip.
		if b[1] = 3; tt.op.Kind == ledger.OpEntry && tt.op.Type >= ledger.Chargeback {
			if _, err := ledger.DecodeCommand(b); err == nil || errors.Is(err, ledger.ErrUnknownCommand) {
				t.Errorf("%s in a command of version 3: %v", tt.name, err)
			}
		}
	}
}

// TestNewContentBelowItsVersion: below version 4 the state refuses what a program of an
// earlier version does, with the same result.
func TestNewContentBelowItsVersion(t *testing.T) {
	finePolicy := strings.Replace(goldenPolicy, "5.00", "5.0000001", 1)
	new := []struct {
		op  ledger.Op
		err error
	}{
		{entry(ledger.Chargeback, "k", "1"), ledger.ErrUpgrade},
		{entry(ledger.UsageReversal, "k", "1"), ledger.ErrUpgrade},
		{entry(ledger.Usage, "k", "0.000000001"), ledger.ErrUpgrade},
		{limit("0.000000001"), ledger.ErrUpgrade},
		{ledger.Op{Kind: ledger.OpPolicy, Doc: finePolicy}, ledger.ErrInvalidPolicy},
	}
	s := mustState(t)
	apply(s, 1, 1, ledger.Op{Kind: ledger.OpVersion, Version: 3})
	for i, tt := range new {
		if r := apply(s, uint64(i+2), 1, tt.op); !errors.Is(r.Err, tt.err) || s.Account("acme") != nil || s.Table().Revision != 1 {
			t.Errorf("%+v: %v, want %v", tt.op, r.Err, tt.err)
		}
	}
	apply(s, 10, 1, ledger.Op{Kind: ledger.OpVersion, Version: 4})
	for i, tt := range new {
		if r := apply(s, uint64(i+11), 1, tt.op); r.Err != nil && !errors.Is(r.Err, ledger.ErrKeyReused) {
			t.Errorf("%+v: %v", tt.op, r.Err)
		}
	}
	if s.Table().Revision != 2 || s.Account("acme").OpenBill != ledger.Dollar || s.Account("acme").UsageLimit != 1 {
		t.Errorf("revision %d, %+v", s.Table().Revision, s.Account("acme"))
	}
}

// nanoState is goldenState after the raise, with money that only version 4 has.
func nanoState(t *testing.T) *ledger.State {
	t.Helper()
	s := goldenState(t)
	for i, op := range []ledger.Op{
		{Kind: ledger.OpVersion, Version: 4},
		entry(ledger.Usage, "fine", "0.000000001"),
		entry(ledger.Chargeback, "back", "7.5"),
		entry(ledger.UsageReversal, "wrong", "0.000000001"),
		limit("0.000000007"),
	} {
		if r := apply(s, 50+uint64(i), 1_700_000_000_500, op); r.Err != nil {
			t.Fatalf("%+v: %v", op, r.Err)
		}
	}
	return s
}

// TestNanoEncodingsStay: the bytes of version 4.
func TestNanoEncodingsStay(t *testing.T) {
	f := golden.Open(t, "testdata/nano.txt")
	ops := []ledger.Op{
		entry(ledger.Usage, "k1", "0.000000001"), entry(ledger.Chargeback, "k2", "1000000000"), entry(ledger.UsageReversal, "k3", "7"), limit("0.000000007"),
		entry(ledger.Purchase, "k4", "5"), {Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{UsageLimit: ptr(ledger.NoUsageLimit)}},
	}
	c := &ledger.Command{Time: 1_700_000_000_123, Ops: ops}
	if got, err := ledger.DecodeCommand(f.Compare("command", mustEncode(t, c))); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("the command is read as %+v, %v", got, err)
	}
	b, err := ledger.EncodeOps(ops)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ledger.DecodeOps(f.Compare("operations", b)); err != nil || !reflect.DeepEqual(got, ops) {
		t.Errorf("operations are read as %+v, %v", got, err)
	}
	results := []ledger.Result{{Account: ledger.Account{ID: "acme", Lifetime: 1, Free: 2, Purchased: 3, OpenBill: math.MaxInt64, UsageLimit: 5}, Entry: ledger.Entry{Key: "k", Type: ledger.Chargeback, Amount: 1, Index: 9}}}
	if b, err = ledger.EncodeResults(results, 4); err != nil {
		t.Fatal(err)
	}
	if got, err := ledger.DecodeResults(f.Compare("results", b)); err != nil || !reflect.DeepEqual(got, results) {
		t.Errorf("results are read as %+v, %v", got, err)
	}
	s := nanoState(t)
	backup, info := backupOf(t, s)
	if got, err := ledger.ReadBackup(bytes.NewReader(f.Compare("backup", backup)), nil); err != nil || got != info {
		t.Errorf("the backup is read as %+v, %v; want %+v", got, err, info)
	}
	back, err := ledger.ReadState(bytes.NewReader(f.Compare("snapshot", written(t, s))))
	if err != nil || !bytes.Equal(written(t, back), written(t, s)) {
		t.Errorf("the snapshot is written otherwise once it was read, %v", err)
	}
}

// TestOldStateIsReadAsItWas: snapshots and backups of earlier versions have micro-dollars;
// the same state is written in nano-dollars after the raise.
func TestOldStateIsReadAsItWas(t *testing.T) {
	f := golden.Open(t, "testdata/snapshots.txt")
	backup := f.Bytes("backup")
	was, err := ledger.ReadBackup(bytes.NewReader(backup), nil)
	if err != nil {
		t.Fatal(err)
	}
	content := was.Content
	for _, name := range []string{"snapshot", "snapshot/restored", "snapshot/restoring"} {
		s, err := ledger.ReadState(bytes.NewReader(f.Bytes(name)))
		if err != nil {
			t.Fatal(err)
		}
		check := func(when string) {
			t.Helper()
			a := s.Account("acme")
			if a.Purchased != 5*ledger.Dollar || a.Lifetime != 5*ledger.Dollar || a.UsageLimit != 7*micro || s.Account("beta").UsageLimit != ledger.NoUsageLimit {
				t.Errorf("%s, %s: %+v", name, when, a)
			}
			if _, info := backupOf(t, s); info.Content != content {
				t.Errorf("%s, %s: the content is %s, was %s", name, when, info.Content, content)
			}
			if e, ok := s.Entry("acme", "k"); !ok || e.Amount != 5*ledger.Dollar || e.Type != ledger.Purchase {
				t.Errorf("%s, %s: the entry is %+v", name, when, e)
			}
		}
		check("read")
		apply(s, 200, 1_700_000_001_001, ledger.Op{Kind: ledger.OpVersion, Version: 4})
		s = restored(t, s)
		check("raised, written and read")
		if name == "snapshot/restoring" {
			continue
		}
		// A backup of before the raise restores into a cluster after it.
		for i, op := range steps(t, "r9", backup) {
			if r := apply(s, 300+uint64(i), 1_700_000_001_002, op); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		s = restored(t, s)
		check("restored")
	}
}

// TestANewBackupIsRefusedBelowItsVersion: as by the replicas of an earlier program, which
// do not know its sections.
func TestANewBackupIsRefusedBelowItsVersion(t *testing.T) {
	backup, _ := backupOf(t, nanoState(t))
	s := mustState(t)
	apply(s, 1, 1, ledger.Op{Kind: ledger.OpVersion, Version: 3})
	last := ledger.Result{}
	for i, op := range steps(t, "r1", backup) {
		if last = apply(s, 2+uint64(i), 1, op); last.Err != nil {
			break
		}
	}
	if under, _ := s.Restoring(1); !errors.Is(last.Err, ledger.ErrBadBackup) || under {
		t.Errorf("%v, and a restore is in progress: %t", last.Err, under)
	}
	apply(s, 100, 1, ledger.Op{Kind: ledger.OpVersion, Version: 4})
	for i, op := range steps(t, "r2", backup) {
		if r := apply(s, 101+uint64(i), 1, op); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if a, want := s.Account("acme"), nanoState(t).Account("acme"); a.OpenBill != want.OpenBill || a.Free != want.Free || a.UsageLimit != 7 {
		t.Errorf("%+v, want %+v", a, want)
	}
}

// TestSumsThatDoNotFit: a sum of micro-dollars that nano-dollars cannot hold is an error
// that names the account, wherever it is met.
func TestSumsThatDoNotFit(t *testing.T) {
	s := mustState(t)
	for i := range 10 {
		r := apply(s, uint64(i+1), 1, entry(ledger.FreeCredit, fmt.Sprint(i), "1000000000"))
		if err := s.Unfit(); (i < 9) != (r.Err == nil) || (i < 9) != (err == nil) {
			t.Fatalf("entry %d: %v; %v", i, r.Err, err)
		}
	}
	if err := s.Unfit(); !errors.Is(err, ledger.ErrBalance) || !strings.Contains(err.Error(), `"acme"`) {
		t.Errorf("%v", err)
	}
	// From version 4 on the entry is refused, alike on every replica.
	s = mustState(t)
	apply(s, 1, 1, ledger.Op{Kind: ledger.OpVersion, Version: 4})
	for i := range 10 {
		r := apply(s, uint64(i+2), 1, entry(ledger.FreeCredit, fmt.Sprint(i), "1000000000"))
		if i == 9 && !errors.Is(r.Err, ledger.ErrOverflow) || s.Unfit() != nil {
			t.Errorf("entry %d: %v; %v", i, r.Err, s.Unfit())
		}
	}
	// A leader writes no such entry below version 4.
	s = mustState(t)
	guard := s.Guard()
	for i := range 12 {
		if err := guard(entry(ledger.FreeCredit, fmt.Sprint(i), "1000000000")); (i < 8) != (err == nil) {
			t.Errorf("entry %d of a command: %v", i, err)
		}
	}
	for i := range 12 {
		if err := s.Guard()(entry(ledger.FreeCredit, fmt.Sprint(i), "1000000000")); err == nil {
			apply(s, uint64(i+1), 1, entry(ledger.FreeCredit, fmt.Sprint(i), "1000000000"))
		}
	}
	if s.Account("acme").Free != 8*ledger.MaxAmount || s.Unfit() != nil {
		t.Errorf("%+v, %v", s.Account("acme"), s.Unfit())
	}
	// A snapshot of an earlier program.
	old := ledger.WriteRich(t, "acme", math.MaxInt64/1000+1)
	if _, err := ledger.ReadState(bytes.NewReader(old)); !errors.Is(err, ledger.ErrBalance) || !strings.Contains(err.Error(), `"acme"`) {
		t.Errorf("%v", err)
	}
	old = ledger.WriteRich(t, "acme", math.MaxInt64/1000)
	if back, err := ledger.ReadState(bytes.NewReader(old)); err != nil || back.Account("acme").Free != math.MaxInt64/1000*1000 {
		t.Errorf("%v", err)
	}
}
