package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"quorate/fsm/ledger"
)

const hour = 60 * 60 * 1000 // milliseconds

func mustState(t testing.TB) *ledger.State {
	t.Helper()
	s, err := ledger.NewState()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func purchase(account, key, amount string) ledger.Op {
	return ledger.Op{Kind: ledger.OpEntry, Account: account, Key: key, Type: ledger.Purchase, Amount: usd(amount)}
}

// apply applies one operation and returns its result.
func apply(s *ledger.State, index uint64, at int64, op ledger.Op) ledger.Result {
	return s.Apply(index, &ledger.Command{Time: at, Ops: []ledger.Op{op}})[0]
}

func TestAnEntryCreatesItsAccount(t *testing.T) {
	s := mustState(t)
	if s.Account("acme") != nil {
		t.Fatal("an account before any entry")
	}
	r := apply(s, 7, 1, purchase("acme", "k", "5"))
	want := ledger.NewAccount("acme")
	want.Purchased, want.Lifetime = usd("5"), usd("5")
	if r.Err != nil || r.Replayed || r.Account != want || r.Entry != (ledger.Entry{Key: "k", Type: ledger.Purchase, Amount: usd("5"), Index: 7}) {
		t.Errorf("got %+v", r)
	}
	if got := s.Account("acme"); got == nil || *got != want {
		t.Errorf("the account is %+v", got)
	}
	if s.Index() != 7 {
		t.Errorf("index %d", s.Index())
	}
}

func TestFreeCreditsNeverPromote(t *testing.T) {
	s := mustState(t)
	apply(s, 1, 1, ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: "gift", Type: ledger.FreeCredit, Amount: usd("1000")})
	if st := s.Table().Standing(s.Account("acme")); st.Tier != 0 {
		t.Errorf("$1000 of free credits made tier %d", st.Tier)
	}
	apply(s, 2, 1, purchase("acme", "almost", "4.99"))
	if st := s.Table().Standing(s.Account("acme")); st.Tier != 0 {
		t.Errorf("$4.99 made tier %d", st.Tier)
	}
	apply(s, 3, 1, purchase("acme", "a cent", "0.01"))
	if st := s.Table().Standing(s.Account("acme")); st.Tier != 1 {
		t.Errorf("$5.00 made tier %d", st.Tier)
	}
}

func TestKeys(t *testing.T) {
	s := mustState(t)
	apply(s, 1, 1, purchase("acme", "k", "5"))
	apply(s, 2, 1, purchase("acme", "other", "1"))

	r := apply(s, 3, 2, purchase("acme", "k", "5.00"))
	if r.Err != nil || !r.Replayed || r.Entry.Index != 1 || r.Account.Lifetime != usd("6") {
		t.Errorf("the same again: %+v, want the first entry and the current account", r)
	}
	for name, op := range map[string]ledger.Op{
		"another amount": purchase("acme", "k", "5.01"),
		"another type":   {Kind: ledger.OpEntry, Account: "acme", Key: "k", Type: ledger.Payment, Amount: usd("5")},
	} {
		if r := apply(s, 4, 2, op); !errors.Is(r.Err, ledger.ErrKeyReused) || r.Replayed {
			t.Errorf("%s: %+v, want ErrKeyReused", name, r)
		}
	}
	if got := s.Account("acme").Lifetime; got != usd("6") {
		t.Errorf("spent %s after a replay and two refusals, want 6.00", got)
	}
	if r := apply(s, 5, 2, purchase("acme2", "k", "5")); r.Replayed || r.Err != nil {
		t.Errorf("another account's key of the same name: %+v", r)
	}
	// The boundary between account and key counts.
	apply(s, 6, 2, purchase("a", "bc", "1"))
	if r := apply(s, 7, 2, purchase("ab", "c", "1")); r.Replayed || r.Err != nil {
		t.Errorf("account ab, key c after account a, key bc: %+v", r)
	}
}

func TestARefusedEntryUsesUpNoKey(t *testing.T) {
	s := mustState(t)
	refund := ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: "k", Type: ledger.Refund, Amount: usd("5")}
	if r := apply(s, 1, 1, refund); !errors.Is(r.Err, ledger.ErrInsufficientCredits) {
		t.Fatalf("got %+v", r)
	}
	if s.Account("acme") != nil {
		t.Error("a refused entry created the account")
	}
	apply(s, 2, 1, purchase("acme", "paid", "5"))
	if r := apply(s, 3, 1, refund); r.Err != nil || r.Replayed || r.Entry.Index != 3 {
		t.Errorf("the same key once it can be applied: %+v", r)
	}
}

func TestKeysAreForgottenAfterTheWindow(t *testing.T) {
	s := mustState(t)
	apply(s, 1, start, purchase("acme", "k", "5"))
	if r := apply(s, 2, start+24*hour-1, purchase("acme", "k", "5")); !r.Replayed {
		t.Fatalf("one millisecond before the window ends: %+v", r)
	}
	if r := apply(s, 3, start+24*hour, purchase("acme", "k", "5")); r.Replayed || r.Err != nil {
		t.Errorf("after the window: %+v, want it applied as new", r)
	}
	if since := s.KeysSince(); since != start+1 {
		t.Errorf("keys are remembered since %d, want %d", since, start+1)
	}
	// Time never falls: a proposer with a slow clock neither remembers nor forgets keys.
	apply(s, 4, start, purchase("acme", "late", "1"))
	if since := s.KeysSince(); since != start+1 {
		t.Errorf("after an entry from the past: since %d, want %d", since, start+1)
	}
	if r := apply(s, 5, start+30*hour, purchase("acme", "late", "1")); !r.Replayed {
		t.Errorf("a key that came with an old time: %+v", r)
	}
}

// TestForgettingIsSpread: keys that expire together are forgotten a few per operation, and
// none early.
func TestForgettingIsSpread(t *testing.T) {
	s := mustState(t)
	var ops []ledger.Op
	for i := range 100 {
		ops = append(ops, purchase("acme", fmt.Sprint("k", i), "1"))
	}
	s.Apply(1, &ledger.Command{Time: 1, Ops: ops})
	if r := apply(s, 2, 2+24*hour, purchase("acme", "k0", "1")); r.Replayed {
		t.Errorf("the oldest key is still there: %+v", r)
	}
	if r := apply(s, 3, 2+24*hour, purchase("acme", "k99", "1")); !r.Replayed {
		t.Errorf("one operation forgot 100 keys: %+v", r)
	}
	for i := range 20 {
		apply(s, uint64(4+i), 2+24*hour, purchase("acme", fmt.Sprint("more", i), "1"))
	}
	if r := apply(s, 30, 2+24*hour, purchase("acme", "k99", "1")); r.Replayed {
		t.Errorf("the last key is still there: %+v", r)
	}
}

func TestPatch(t *testing.T) {
	s := mustState(t)
	patch := func(p ledger.Patch) ledger.Op { return ledger.Op{Kind: ledger.OpPatch, Account: "acme", Patch: p} }
	if r := apply(s, 1, 1, patch(ledger.Patch{})); r.Err != nil || s.Account("acme") == nil {
		t.Errorf("an empty patch creates the account: %+v", r)
	}
	apply(s, 2, 1, purchase("acme", "k", "5"))
	apply(s, 3, 1, patch(ledger.Patch{Plan: ptr(ledger.Scale)}))
	apply(s, 4, 1, patch(ledger.Patch{Suspended: ptr(true)}))
	r := apply(s, 5, 1, patch(ledger.Patch{UsageLimit: ptr(usd("10"))}))
	want := ledger.Account{
		ID: "acme", Plan: ledger.Scale, Suspended: true, Lifetime: usd("5"), Purchased: usd("5"), UsageLimit: usd("10"),
	}
	if r.Account != want || *s.Account("acme") != want {
		t.Errorf("got %+v, want %+v", r.Account, want)
	}
	r = apply(s, 6, 1, patch(ledger.Patch{UsageLimit: ptr(ledger.NoUsageLimit), Suspended: ptr(false)}))
	want.UsageLimit, want.Suspended = ledger.NoUsageLimit, false
	if r.Account != want {
		t.Errorf("got %+v, want %+v", r.Account, want)
	}
}

func TestMapsFollowOneAnother(t *testing.T) {
	s := mustState(t)
	next := func(m *ledger.Map) error { return apply(s, 1, 1, ledger.Op{Kind: ledger.OpMap, Map: m}).Err }
	if err := next(mapOf(2, "n1")); !errors.Is(err, ledger.ErrStaleEpoch) {
		t.Errorf("epoch 2 after none: %v", err)
	}
	if err := next(mapOf(1, "n1")); err != nil {
		t.Errorf("epoch 1 after none: %v", err)
	}
	if err := next(mapOf(1, "n2")); !errors.Is(err, ledger.ErrStaleEpoch) {
		t.Errorf("epoch 1 again: %v", err)
	}
	if err := next(&ledger.Map{Epoch: 2, Members: []ledger.Member{{ID: "n1"}}}); err == nil {
		t.Error("a map of no partitions")
	}
	if m := s.Map(); m.Epoch != 1 || m.Members[0].ID != "n1" {
		t.Errorf("in force is epoch %d of %v", m.Epoch, m.Members)
	}
}

func TestTheClusterIDIsSetOnce(t *testing.T) {
	s := mustState(t)
	set := func(id string) error {
		return apply(s, 1, 1, ledger.Op{Kind: ledger.OpClusterID, ClusterID: id}).Err
	}
	if err := set("first"); err != nil {
		t.Fatal(err)
	}
	if err := set("second"); !errors.Is(err, ledger.ErrClusterID) || s.ClusterID() != "first" {
		t.Errorf("%v, the id is %q", err, s.ClusterID())
	}
}

// TestRemovedNodesAreRemembered: no node can use the id of a removed node again, also after
// a snapshot.
func TestRemovedNodesAreRemembered(t *testing.T) {
	s := mustState(t)
	remove := func(id string) { apply(s, 1, 1, ledger.Op{Kind: ledger.OpRemove, Node: id}) }
	remove("n2")
	remove("n2")
	remove("n3")
	got := restored(t, s)
	if !got.Removed("n2") || !got.Removed("n3") || got.Removed("n1") {
		t.Errorf("n1 %v, n2 %v, n3 %v", got.Removed("n1"), got.Removed("n2"), got.Removed("n3"))
	}
	for i := range ledger.MaxRemoved - 1 {
		remove("m" + strconv.Itoa(i))
	}
	if s = restored(t, s); s.Removed("n2") || !s.Removed("n3") {
		t.Error("not the oldest was forgotten")
	}
}

// TestEachOperationStandsAlone: operations after a refused one are applied.
func TestEachOperationStandsAlone(t *testing.T) {
	s := mustState(t)
	got := s.Apply(9, &ledger.Command{Time: 1, Ops: []ledger.Op{
		purchase("a", "k", "5"),
		purchase("a", "k", "6"),
		{Kind: 200},
		purchase("a", "k", "5"),
		purchase("b", "k", "5"),
	}})
	errs := []error{nil, ledger.ErrKeyReused, ledger.ErrUnknownCommand, nil, nil}
	for i, want := range errs {
		if !errors.Is(got[i].Err, want) {
			t.Errorf("operation %d: %v, want %v", i, got[i].Err, want)
		}
	}
	if !got[3].Replayed || s.Account("a").Lifetime != usd("5") || s.Account("b").Lifetime != usd("5") {
		t.Errorf("got %+v", got)
	}
}

// commands draws a random log: few accounts, keys and amounts, so that they collide, and
// times that jump forwards and backwards by more than the key window.
var commands = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *ledger.Command {
	c := &ledger.Command{Time: rapid.Int64Range(0, 100*hour).Draw(t, "time")}
	for range rapid.IntRange(0, 12).Draw(t, "operations") {
		account := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "account")
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			c.Ops = append(c.Ops, ledger.Op{Kind: ledger.OpPatch, Account: account, Patch: ledger.Patch{
				Suspended: ptr(rapid.Bool().Draw(t, "suspended")), UsageLimit: ptr(ledger.Money(rapid.Int64Range(-1, 5).Draw(t, "limit"))),
			}})
		case 1:
			c.Ops = append(c.Ops, ledger.Op{Kind: ledger.OpMap, Map: mapOf(rapid.Uint64Range(0, 4).Draw(t, "epoch"), "n1", "n2")})
		case 2:
			c.Ops = append(c.Ops, ledger.Op{Kind: ledger.OpClusterID, ClusterID: account})
		default:
			c.Ops = append(c.Ops, ledger.Op{
				Kind: ledger.OpEntry, Account: account,
				Key:    fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "key")),
				Type:   ledger.EntryType(rapid.IntRange(0, 4).Draw(t, "type")),
				Amount: ledger.Money(rapid.Int64Range(1, 3).Draw(t, "amount")),
			})
		}
	}
	return c
}), 1, 20)

// TestReplicasAgree applies one log to one replica, its decoded encoding to a second, and
// its second half to a third that starts from a snapshot: their results and bytes are
// equal.
func TestReplicasAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := commands.Draw(t, "log")
		cut := rapid.IntRange(0, len(log)).Draw(t, "snapshot after")
		var replicas [3]*ledger.State
		for i := range replicas {
			s, err := ledger.NewState()
			if err != nil {
				t.Fatal(err)
			}
			replicas[i] = s
		}
		for i, c := range log {
			index := uint64(i + 1)
			if i == cut {
				replicas[2] = restored(t, replicas[0])
			}
			b, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			sent, err := ledger.DecodeCommand(b)
			if err != nil {
				t.Fatal(err)
			}
			want := replicas[0].Apply(index, c)
			if got := replicas[1].Apply(index, sent); !reflect.DeepEqual(got, want) {
				t.Fatalf("entry %d: %+v, the first replica says %+v", index, got, want)
			}
			if got := replicas[2].Apply(index, sent); !reflect.DeepEqual(got, want) {
				t.Fatalf("entry %d: %+v after the snapshot, the first replica says %+v", index, got, want)
			}
		}
		want := written(t, replicas[0])
		for _, s := range replicas[1:] {
			if !bytes.Equal(written(t, s), want) {
				t.Fatal("replicas that agreed on every result write different snapshots")
			}
			if s.KeysSince() != replicas[0].KeysSince() || s.Index() != replicas[0].Index() {
				t.Fatalf("keys since %d, index %d", s.KeysSince(), s.Index())
			}
		}
	})
}

type fataler interface {
	Helper()
	Fatal(...any)
}

func written(t fataler, s *ledger.State) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := s.Freeze().Write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func restored(t fataler, s *ledger.State) *ledger.State {
	t.Helper()
	got, err := ledger.ReadState(bytes.NewReader(written(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func busyState(t testing.TB) *ledger.State {
	s := mustState(t)
	s.Apply(1, &ledger.Command{Time: 5 * hour, Ops: []ledger.Op{
		{Kind: ledger.OpClusterID, ClusterID: "the cluster"},
		{Kind: ledger.OpMap, Map: mapOf(1, "n1", "n2", "n3")},
		purchase("acme", "k1", "5"), purchase("b", "k1", "50"), purchase("acme", "k2", "0.01"),
		{Kind: ledger.OpPatch, Account: "c", Patch: ledger.Patch{Plan: ptr(ledger.Scale), UsageLimit: ptr(usd("1"))}},
	}})
	return s
}

func TestSnapshotHoldsEverything(t *testing.T) {
	s := busyState(t)
	got := restored(t, s)
	if got.ClusterID() != "the cluster" || got.Index() != 1 || got.KeysSince() != s.KeysSince() || !reflect.DeepEqual(got.Map(), s.Map()) {
		t.Errorf("cluster %q, index %d, epoch %d", got.ClusterID(), got.Index(), got.Map().Epoch)
	}
	for _, id := range []string{"acme", "b", "c"} {
		if *got.Account(id) != *s.Account(id) {
			t.Errorf("%s: %+v, want %+v", id, got.Account(id), s.Account(id))
		}
	}
	if r := apply(got, 2, 6*hour, purchase("acme", "k1", "5")); !r.Replayed || r.Entry.Index != 1 {
		t.Errorf("a key from before the snapshot: %+v", r)
	}
	if !bytes.Equal(got.Table().Doc, s.Table().Doc) || got.Table().Revision != s.Table().Revision {
		t.Error("the policy changed")
	}
}

func TestAFrozenStateDoesNotMove(t *testing.T) {
	s := busyState(t)
	f := s.Freeze()
	want := written(t, s)
	apply(s, 2, 6*hour, purchase("acme", "k9", "5"))
	apply(s, 3, 60*hour, purchase("d", "k9", "5")) // forgets keys too
	var buf bytes.Buffer
	if err := f.Write(&buf); err != nil || !bytes.Equal(buf.Bytes(), want) {
		t.Errorf("what was frozen changed with the state (%v)", err)
	}
}

// TestDamagedSnapshots flips every byte at the start and the end of a snapshot and some in
// between, and truncates it there.
func TestDamagedSnapshots(t *testing.T) {
	good := written(t, busyState(t))
	try := func(what string, b []byte) {
		t.Helper()
		if _, err := ledger.ReadState(bytes.NewReader(b)); !errors.Is(err, ledger.ErrSnapshot) {
			t.Errorf("%s: %v, want ErrSnapshot", what, err)
		}
	}
	try("nothing", nil)
	for at := 0; at < len(good); at++ {
		if at > 60 && at < len(good)-60 && at%499 != 0 {
			continue
		}
		b := bytes.Clone(good)
		b[at] ^= 0x40
		try(fmt.Sprintf("byte %d of %d flipped", at, len(b)), b)
		try(fmt.Sprintf("cut after %d of %d bytes", at, len(b)), good[:at])
	}
}
