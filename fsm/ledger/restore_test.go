package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"quorate/fsm/ledger"
)

// blocksOf returns the blocks and the description of a backup.
func blocksOf(t testing.TB, backup []byte) ([][]byte, ledger.Backup) {
	t.Helper()
	var blocks [][]byte
	info, err := ledger.ReadBackup(bytes.NewReader(backup), func(b []byte) error {
		blocks = append(blocks, slices.Clone(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return blocks, info
}

func backupOf(t testing.TB, s *ledger.State) ([]byte, ledger.Backup) {
	t.Helper()
	var buf bytes.Buffer
	info, err := s.Freeze().WriteBackup(&buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), info
}

// steps returns all steps of a restore.
func steps(t testing.TB, id string, backup []byte) (ops []ledger.Op) {
	t.Helper()
	add := func(s ledger.RestoreStep) {
		s.ID = id
		ops = append(ops, ledger.Op{Kind: ledger.OpRestore, Restore: &s})
	}
	add(ledger.RestoreStep{Kind: ledger.RestoreBegin})
	blocks, _ := blocksOf(t, backup)
	sum := uint64(0)
	for i, b := range blocks {
		add(ledger.RestoreStep{Kind: ledger.RestoreBlock, Seq: uint64(i), Block: b})
		sum = ledger.RestoreSum(sum, b)
	}
	add(ledger.RestoreStep{Kind: ledger.RestoreCommit, Seq: uint64(len(blocks)), Sum: sum})
	return ops
}

// rich returns a state with accounts of every kind, another policy and keys.
func rich(t testing.TB, accounts int) *ledger.State {
	t.Helper()
	s := mustState(t)
	index := uint64(1000)
	next := func(op ledger.Op) {
		t.Helper()
		index++
		if r := apply(s, index, int64(index), op); r.Err != nil {
			t.Fatalf("%+v: %v", op, r.Err)
		}
	}
	doc := string(s.Table().Doc) + "\n# another\n"
	next(ledger.Op{Kind: ledger.OpPolicy, Doc: doc})
	for i := range accounts {
		next(purchase(fmt.Sprintf("acct-%d", i), "k", "5"))
	}
	next(ledger.Op{Kind: ledger.OpPatch, Account: "acct-1", Patch: ledger.Patch{Plan: ptr(ledger.Scale), Suspended: ptr(true), UsageLimit: ptr(7 * micro)}})
	next(ledger.Op{Kind: ledger.OpClusterID, ClusterID: "the first"})
	next(ledger.Op{Kind: ledger.OpMap, Map: mapOf(1, "n1")})
	return s
}

func TestABackupRestoresIntoAFreshCluster(t *testing.T) {
	from := rich(t, 3000)
	backup, was := backupOf(t, from)
	if was.Index != from.Index() || was.Accounts != 3000 || was.Keys != 3000 || was.ClusterID != "the first" {
		t.Fatalf("the backup is of %+v", was)
	}
	s := mustState(t)
	apply(s, 1, 50_000, ledger.Op{Kind: ledger.OpClusterID, ClusterID: "the second"})
	apply(s, 2, 50_000, ledger.Op{Kind: ledger.OpMap, Map: mapOf(1, "m1", "m2", "m3")})
	apply(s, 3, 50_000, purchase("gone", "k", "9"))
	ops := steps(t, "r1", backup)
	if len(ops) < 5 {
		t.Fatalf("%d steps: too few to mean anything", len(ops))
	}
	index := uint64(3)
	for i, op := range ops {
		index++
		if r := apply(s, index, 50_000, op); r.Err != nil {
			t.Fatalf("step %d: %v", i, r.Err)
		}
		under, _ := s.Restoring(50_000)
		if last := i == len(ops)-1; under == last || (s.Account("gone") == nil) != last || (s.Account("acct-7") != nil) != last {
			t.Fatalf("after step %d of %d: under way %v, the old account %v, the restored one %v", i, len(ops), under, s.Account("gone"), s.Account("acct-7"))
		}
		if i < len(ops)-1 {
			if r := apply(s, index, 50_000, purchase("acct-7", "other", "1")); !errors.Is(r.Err, ledger.ErrRestoring) {
				t.Fatalf("an entry meanwhile: %+v", r)
			}
		}
	}
	_, now := backupOf(t, s)
	if now.Content != was.Content || now.Accounts != was.Accounts || now.Keys != was.Keys || now.Revision != was.Revision {
		t.Errorf("restored %+v, want the content of %+v", now, was)
	}
	if s.ClusterID() != "the second" || s.Map().Members[0].ID != "m1" || s.Index() != index || s.Now() != 50_000 {
		t.Errorf("cluster %s, members %v, index %d, time %d", s.ClusterID(), s.Map().Members, s.Index(), s.Now())
	}
	if *s.Account("acct-1") != *from.Account("acct-1") {
		t.Errorf("acct-1 is %+v, want %+v", s.Account("acct-1"), from.Account("acct-1"))
	}
	r := apply(s, index+1, 50_000, purchase("acct-9", "k", "5"))
	if !r.Replayed || r.Entry.Index == 0 || r.Entry.Index > index {
		t.Errorf("a key of the backup: %+v, want it replayed at an index that this log has reached", r)
	}
	if r := apply(s, index+2, 50_000, purchase("gone", "k", "9")); r.Replayed || r.Err != nil {
		t.Errorf("a key that the restore took away: %+v", r)
	}
}

// TestStepsOfARestoreMayBeRepeated: steps may be repeated, as after an unknown outcome, but
// not omitted or mixed.
func TestStepsOfARestoreMayBeRepeated(t *testing.T) {
	backup, was := backupOf(t, rich(t, 3000))
	ops := steps(t, "r1", backup)
	s := mustState(t)
	index := uint64(0)
	do := func(op ledger.Op) error { index++; return apply(s, index, 1, op).Err }
	for i, op := range ops {
		if i > 0 && i < len(ops)-1 {
			later := *op.Restore
			later.Seq++
			if err := do(ledger.Op{Kind: ledger.OpRestore, Restore: &later}); !errors.Is(err, ledger.ErrNoRestore) {
				t.Fatalf("step %d left out: %v", i, err)
			}
		}
		if i == len(ops)-1 {
			for name, change := range map[string]func(*ledger.RestoreStep){
				"another sum": func(s *ledger.RestoreStep) { s.Sum++ }, "another count": func(s *ledger.RestoreStep) { s.Seq++ }, "another id": func(s *ledger.RestoreStep) { s.ID = "x" },
			} {
				wrong := *op.Restore
				change(&wrong)
				if err := do(ledger.Op{Kind: ledger.OpRestore, Restore: &wrong}); !errors.Is(err, ledger.ErrNoRestore) {
					t.Fatalf("a commit with %s: %v", name, err)
				}
			}
		}
		for range 2 {
			if err := do(op); err != nil {
				t.Fatalf("step %d of %d: %v", i, len(ops), err)
			}
		}
		if i == 0 {
			other := steps(t, "r2", backup)[0]
			if err := do(other); !errors.Is(err, ledger.ErrRestoring) {
				t.Fatalf("a second restore: %v", err)
			}
		}
	}
	if _, now := backupOf(t, s); now.Content != was.Content {
		t.Errorf("content %s, want %s", now.Content, was.Content)
	}
}

func TestARestoreThatStopsChangesNothing(t *testing.T) {
	backup, _ := backupOf(t, rich(t, 3000))
	ops := steps(t, "r1", backup)
	for name, end := range map[string]func(s *ledger.State) error{
		"aborted": func(s *ledger.State) error {
			return apply(s, 9, 1, ledger.Op{Kind: ledger.OpRestore, Restore: &ledger.RestoreStep{Kind: ledger.RestoreAbort, ID: "r1"}}).Err
		},
		"no step for half a minute": func(s *ledger.State) error {
			if under, stale := s.Restoring(31_001); !under || !stale {
				return fmt.Errorf("before: under way %v, stale %v", under, stale)
			}
			return apply(s, 9, 31_002, ledger.Op{Kind: ledger.OpTick}).Err
		},
		"a block that is none": func(s *ledger.State) error {
			bad := ledger.RestoreStep{Kind: ledger.RestoreBlock, ID: "r1", Seq: 1, Block: []byte{3, 0, 0, 0, 1}}
			if err := apply(s, 9, 1, ledger.Op{Kind: ledger.OpRestore, Restore: &bad}).Err; !errors.Is(err, ledger.ErrBadBackup) {
				return fmt.Errorf("it gave %w", err)
			}
			return nil
		},
	} {
		s := mustState(t)
		apply(s, 1, 1, purchase("kept", "k", "9"))
		_, was := backupOf(t, s)
		for i, op := range ops[:2] {
			if err := apply(s, uint64(2+i), 1, op).Err; err != nil {
				t.Fatal(err)
			}
		}
		if err := end(s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if under, _ := s.Restoring(0); under {
			t.Errorf("%s: the restore is still under way", name)
		}
		if _, now := backupOf(t, s); now.Content != was.Content {
			t.Errorf("%s: the state changed", name)
		}
		if err := apply(s, 10, 31_002, ops[2]).Err; !errors.Is(err, ledger.ErrNoRestore) {
			t.Errorf("%s: its next step gave %v", name, err)
		}
		if r := apply(s, 11, 31_002, purchase("kept", "k2", "1")); r.Err != nil {
			t.Errorf("%s: an entry afterwards: %v", name, r.Err)
		}
	}
}

// TestASnapshotHoldsARestoreUnderWay: a replica that starts from a snapshot during a restore
// continues with the next block.
func TestASnapshotHoldsARestoreUnderWay(t *testing.T) {
	backup, was := backupOf(t, rich(t, 3000))
	ops := steps(t, "r1", backup)
	one := mustState(t)
	for cut := range ops {
		if err := apply(one, uint64(1+cut), 1, ops[cut]).Err; err != nil {
			t.Fatal(err)
		}
		two, err := ledger.ReadState(bytes.NewReader(written(t, one)))
		if err != nil {
			t.Fatalf("after step %d: %v", cut, err)
		}
		for i, op := range ops[cut+1:] {
			if err := apply(two, uint64(2+cut+i), 1, op).Err; err != nil {
				t.Fatalf("step %d on a replica that started after %d: %v", cut+1+i, cut, err)
			}
		}
		if _, now := backupOf(t, two); now.Content != was.Content {
			t.Errorf("a replica that started after step %d has content %s, want %s", cut, now.Content, was.Content)
		}
		// A repeated commit succeeds.
		if r := apply(two, 1000, 1, ops[len(ops)-1]); r.Err != nil {
			t.Errorf("the commit again: %v", r.Err)
		}
	}
}

func TestARevisionNamesOneDocument(t *testing.T) {
	s := mustState(t)
	other := string(s.Table().Doc) + "\n# other\n"
	backup, _ := backupOf(t, s) // revision 1
	apply(s, 1, 1, ledger.Op{Kind: ledger.OpPolicy, Doc: other})
	for i, op := range steps(t, "r1", backup) {
		if err := apply(s, uint64(2+i), 1, op).Err; err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Table(); got.Revision != 3 || string(got.Doc) == other {
		t.Errorf("revision %d after revision 2 was replaced by the document of revision 1, want 3", got.Revision)
	}
}

// TestDamagedBackups flips bits and truncates a backup at every position.
func TestDamagedBackups(t *testing.T) {
	backup, _ := backupOf(t, rich(t, 50))
	if _, err := ledger.ReadBackup(bytes.NewReader(backup), nil); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(backup); at += 1 + len(backup)/400 {
		flipped := bytes.Clone(backup)
		flipped[at] ^= 1 << (at % 8)
		for what, b := range map[string][]byte{"flipped": flipped, "cut": backup[:at], "longer": append(bytes.Clone(backup), 0)} {
			if _, err := ledger.ReadBackup(bytes.NewReader(b), nil); !errors.Is(err, ledger.ErrBadBackup) {
				t.Fatalf("%s at %d of %d: %v", what, at, len(backup), err)
			}
		}
	}
	if _, err := ledger.ReadBackup(bytes.NewReader(written(t, rich(t, 1))), nil); !errors.Is(err, ledger.ErrBadBackup) {
		t.Errorf("a snapshot as a backup: %v", err)
	}
	stop := errors.New("stop")
	if _, err := ledger.ReadBackup(bytes.NewReader(backup), func([]byte) error { return stop }); !errors.Is(err, stop) || errors.Is(err, ledger.ErrBadBackup) {
		t.Errorf("the reader's own error came back as %v", err)
	}
}
