package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quorate/fsm/ledger"
	"quorate/testing/golden"
)

var secret = ledger.Secret{1, 2, 3}

// reservationOf returns an id that the cluster makes at a time of the log.
func reservationOf(account string, n byte, made int64) string {
	return ledger.NewReservation(&secret, account, made, [ledger.NonceLen]byte{n})
}

func settleOp(account, id, amount string) ledger.Op {
	return ledger.Op{Kind: ledger.OpSettle, Account: account, Key: id, Type: ledger.Usage, Amount: usd(amount)}
}

// settling returns a state that has the secret and remembers few keys.
func settling(t testing.TB, keep int64) *ledger.State {
	t.Helper()
	s := timed(t)
	apply(s, 2, start, ledger.Op{Kind: ledger.OpSecret, Secret: secret})
	apply(s, 3, start, set(ledger.KeyMemoryEntries, keep))
	return s
}

// TestASettlementCountsOnce: also when the ledger has forgotten its key since.
func TestASettlementCountsOnce(t *testing.T) {
	s := settling(t, 3)
	apply(s, 10, start, purchase("lt", "p", "100"))
	id := reservationOf("lt", 1, start)
	if r := apply(s, 11, start+10, settleOp("lt", id, "1.25")); r.Err != nil || r.Replayed {
		t.Fatalf("%+v", r)
	}
	// Other entries have keys of their own.
	for i := range 20 {
		apply(s, 12+uint64(i), start+20, purchase("other", fmt.Sprint(i), "1"))
	}
	if r := apply(s, 40, start+30, settleOp("lt", id, "1.25")); r.Err != nil || !r.Replayed || r.Entry.Index != 11 {
		t.Errorf("after many entries: %+v", r)
	}
	if r := apply(s, 41, start+30, settleOp("lt", id, "1.26")); !errors.Is(r.Err, ledger.ErrKeyReused) {
		t.Errorf("another amount: %v", r.Err)
	}
	for i := range byte(5) {
		apply(s, 42+uint64(i), start+40, settleOp("other", reservationOf("other", i, start+40), "1"))
	}
	if r := apply(s, 50, start+50, settleOp("lt", id, "1.25")); !errors.Is(r.Err, ledger.ErrKeyExpired) {
		t.Errorf("after many settlements: %+v", r)
	}
	if got := s.Account("lt").Purchased; got != usd("98.75") {
		t.Errorf("%v left", got)
	}
	if got := s.KeysSince(); got > start+20+1 {
		t.Error("settlements made the ledger forget keys of entries")
	}
}

// TestAMadeUpReservation: a caller that may settle cannot bill a stranger, or take the key
// of a billing system.
func TestAMadeUpReservation(t *testing.T) {
	s := settling(t, 100)
	good := reservationOf("acme", 1, start)
	other := ledger.Secret{9}
	for name, op := range map[string]ledger.Op{
		"made up":            settleOp("victim", "invoice-17", "1000000000"),
		"another account's":  settleOp("victim", good, "1"),
		"another cluster's":  settleOp("acme", ledger.NewReservation(&other, "acme", start, [ledger.NonceLen]byte{1}), "1"),
		"a changed nonce":    settleOp("acme", good[:3]+"B"+good[4:], "1"),
		"a changed check":    settleOp("acme", good[:len(good)-2]+"zz", "1"),
		"not base64":         settleOp("acme", good[:len(good)-1]+"=", "1"),
		"too short":          settleOp("acme", good[:len(good)-1], "1"),
		"the form of before": settleOp("acme", "r-ABCDEFGHIJKLMNOPQRSTUVWXYZ", "1"),
	} {
		if r := apply(s, 100, start+1, op); !errors.Is(r.Err, ledger.ErrUnknownReservation) || s.Account(op.Account) != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := apply(s, 101, start, ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: good, Type: ledger.Usage, Amount: usd("3")}); r.Err != nil {
		t.Errorf("a billing system's key of the same name: %v", r.Err)
	}
	if r := apply(s, 102, start+1, settleOp("acme", good, "1")); r.Err != nil || r.Replayed {
		t.Errorf("the settlement: %+v", r)
	}
}

// TestReservationsOfTheEarlierVersion: their ids are honoured until they expire, and a
// settlement that was recorded as an entry is not recorded again.
func TestReservationsOfTheEarlierVersion(t *testing.T) {
	s := timed(t)
	apply(s, 1, start, ledger.Op{Kind: ledger.OpMap, Map: mapOf(1, "n1")})
	const id = "r-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	apply(s, 2, start, ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: id, Type: ledger.Usage, Amount: usd("1")})
	if r := apply(s, 3, start, settleOp("acme", id, "1")); !r.Replayed {
		t.Errorf("before the secret: %+v", r)
	}
	apply(s, 4, start, ledger.Op{Kind: ledger.OpSecret, Secret: secret})
	apply(s, 5, start, ledger.Op{Kind: ledger.OpSecret, Secret: ledger.Secret{9}})
	if *s.Secret() != secret {
		t.Error("a second secret replaced the first")
	}
	for _, s := range []*ledger.State{s, restored(t, s)} {
		if r := apply(s, 6, start+10*60*1000, settleOp("acme", id, "1")); !r.Replayed {
			t.Errorf("after ten minutes: %+v", r)
		}
		if r := apply(s, 7, start+11*60*1000, settleOp("acme", id, "1")); !errors.Is(r.Err, ledger.ErrUnknownReservation) {
			t.Errorf("after they have expired: %+v", r)
		}
	}
}

// TestSettlementsAreInSnapshotsAndBackups: a settlement is not recorded again after either
// was read, and a backup has no secret.
func TestSettlementsAreInSnapshotsAndBackups(t *testing.T) {
	s := settling(t, 2)
	var ids []string
	for i := range byte(4) {
		ids = append(ids, reservationOf("acme", i, start+int64(i)))
		apply(s, 10+uint64(i), start+int64(i), settleOp("acme", ids[i], "1"))
	}
	backup, _ := backupOf(t, s)
	if bytes.Contains(backup, secret[:]) {
		t.Error("the backup has the secret")
	}
	into := settling(t, 2)
	for i, op := range steps(t, "r1", backup) {
		if r := apply(into, 20+uint64(i), start+5, op); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	for name, s := range map[string]*ledger.State{"snapshot": restored(t, s), "backup": into} {
		if r := apply(s, 40, start+10, settleOp("acme", ids[3], "1")); !r.Replayed {
			t.Errorf("%s: remembered: %+v", name, r)
		}
		if r := apply(s, 41, start+10, settleOp("acme", ids[0], "1")); !errors.Is(r.Err, ledger.ErrKeyExpired) {
			t.Errorf("%s: forgotten: %+v", name, r)
		}
		if *s.Secret() != secret {
			t.Errorf("%s: another secret", name)
		}
	}
	if !bytes.Equal(written(t, s), written(t, restored(t, s))) {
		t.Error("the snapshot is written otherwise once it was read")
	}
}

// TestNoHistoryOfSettlementsCountsTwice settles again and again with few keys remembered.
// The clock of the node that makes the ids may be a little ahead of the log.
func TestNoHistoryOfSettlementsCountsTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := ledger.NewState()
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(1, &ledger.Command{Time: start, Ops: []ledger.Op{
			{Kind: ledger.OpVersion, Version: 4}, {Kind: ledger.OpSecret, Secret: secret},
			set(ledger.KeyMemoryEntries, rapid.Int64Range(1, 4).Draw(t, "keys kept")), set(ledger.KeyMemory, 3_600_000),
		}})
		now, index := int64(start), uint64(1)
		ids := map[byte]string{}
		applied := map[byte]int{}
		for range rapid.IntRange(1, 60).Draw(t, "settlements") {
			now += rapid.SampledFrom([]int64{0, 0, 1, 10, 60_000, 3_600_000}).Draw(t, "later")
			index++
			n := rapid.ByteRange(0, 7).Draw(t, "reservation")
			if ids[n] == "" {
				ids[n] = reservationOf("acme", n, now+rapid.SampledFrom([]int64{-1000, 0, 1, 5000}).Draw(t, "ahead"))
			}
			r := s.Apply(index, &ledger.Command{Time: now, Ops: []ledger.Op{settleOp("acme", ids[n], "1")}})[0]
			if r.Err == nil && !r.Replayed {
				if applied[n]++; applied[n] > 1 {
					t.Fatalf("reservation %d was recorded %d times", n, applied[n])
				}
			}
		}
	})
}

// TestSettlementsStay: the bytes of the operations and of ids are those of earlier versions.
func TestSettlementsStay(t *testing.T) {
	id := reservationOf("acme", 7, 1_700_000_000_123)
	if want := "r2-BwAAAAAAAAAAAAAAAYvP5Wh7"; !strings.HasPrefix(id, want) || len(id) > 64 {
		t.Errorf("id %s, want %s and a check", id, want)
	}
	f := golden.Open(t, "testdata/settlements.txt")
	for name, op := range map[string]ledger.Op{
		"secret": {Kind: ledger.OpSecret, Secret: secret},
		"settle": settleOp("acme", id, "1.25"),
	} {
		b := f.Compare(name, mustEncode(t, &ledger.Command{Time: 1_700_000_000_123, Ops: []ledger.Op{op}}))
		if ledger.NewestVersion() < 4 {
			continue
		}
		if c, err := ledger.DecodeCommand(b); err != nil || len(c.Ops) != 1 || c.Ops[0].Secret != op.Secret || c.Ops[0].Key != op.Key || c.Ops[0].Amount != op.Amount || c.Ops[0].Type != op.Type {
			t.Errorf("%s is read as %+v, %v", name, c, err)
		}
	}
}
