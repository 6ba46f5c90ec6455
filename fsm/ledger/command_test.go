package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/fsm/ledger"
)

func ptr[T any](v T) *T { return &v }

// places spreads all partitions over n members.
func places(n int) [][3]uint16 {
	p := make([][3]uint16, ledger.Partitions)
	for i := range p {
		for j := range p[i] {
			p[i][j] = ledger.NoMember
			if j < n {
				p[i][j] = uint16((i + j) % n)
			}
		}
	}
	return p
}

func mapOf(epoch uint64, ids ...string) *ledger.Map {
	m := &ledger.Map{
		Epoch: epoch, Places: places(len(ids)), Moving: make([]bool, ledger.Partitions),
		Grantors: ids[:min(len(ids), 1)], Retiring: ids[:min(len(ids), ledger.MaxGrantors)], Lease: 2 * time.Second, Drift: 40 * time.Millisecond,
	}
	m.Moving[9] = true
	for i, id := range ids {
		m.Members = append(m.Members, ledger.Member{ID: id, Boot: uint64(i + 1)})
	}
	return m
}

func everyOp() []ledger.Op {
	ops := []ledger.Op{
		{Kind: ledger.OpPatch, Account: "acme"},
		{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{Plan: ptr(ledger.Enterprise)}},
		{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{Plan: ptr(ledger.Build)}},
		{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{UsageLimit: ptr(ledger.NoUsageLimit)}},
		{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{UsageLimit: ptr(ledger.Money(0))}},
		{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{UsageLimit: ptr(ledger.MaxAmount), Suspended: ptr(true)}},
		{Kind: ledger.OpPatch, Account: "acme", Patch: ledger.Patch{Suspended: ptr(false)}},
		{Kind: ledger.OpMap, Map: mapOf(1, "n1", "n2", "n3")},
		{Kind: ledger.OpMap, Map: mapOf(1<<63, "only")},
		{Kind: ledger.OpClusterID, ClusterID: strings.Repeat("c", ledger.MaxNodeID)},
		{Kind: ledger.OpVersion, Version: ledger.NewestVersion()},
		{Kind: ledger.OpRemove, Node: strings.Repeat("n", ledger.MaxNodeID)},
		{Kind: ledger.OpRestore, Restore: &ledger.RestoreStep{Kind: ledger.RestoreBegin, ID: strings.Repeat("r", 32)}},
		{Kind: ledger.OpRestore, Restore: &ledger.RestoreStep{Kind: ledger.RestoreBlock, ID: "r", Seq: 1 << 63, Block: []byte("block")}},
		{Kind: ledger.OpRestore, Restore: &ledger.RestoreStep{Kind: ledger.RestoreCommit, ID: "r", Sum: 1 << 63}, By: "ops"},
		{Kind: ledger.OpPolicy, Doc: "schema: 1", IfMatch: 7, By: "ops"},
		{Kind: ledger.OpDelete, Account: "acme", By: strings.Repeat("b", ledger.MaxActor)},
		{Kind: ledger.OpTick},
		{Kind: ledger.OpToken, Token: &ledger.Token{Name: "gate", Scopes: ledger.ScopeCheck | ledger.ScopeAdmin, Hash: ledger.HashSecret([]byte("s"))}, Guard: true, By: "ops"},
		{Kind: ledger.OpRevoke, Token: &ledger.Token{Name: "gate"}, Guard: true},
		{Kind: ledger.OpNote, Note: &ledger.Note{Action: "node.remove", Target: strings.Repeat("t", ledger.MaxAuditTarget), Detail: "d"}, By: "ops"},
	}
	for typ := ledger.Purchase; typ <= ledger.Refund; typ++ {
		ops = append(ops, ledger.Op{
			Kind: ledger.OpEntry, Account: strings.Repeat("a", 128), Key: strings.Repeat("k", ledger.MaxKey),
			Type: typ, Amount: ledger.MaxAmount,
		})
	}
	return ops
}

func mustEncode(t testing.TB, c *ledger.Command) []byte {
	t.Helper()
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCommandRoundTrip(t *testing.T) {
	for _, want := range []*ledger.Command{
		{Ops: []ledger.Op{}},
		{Time: 1 << 50, Ops: everyOp()},
		{Time: -1, Ops: make([]ledger.Op, ledger.MaxOps)},
	} {
		got, err := ledger.DecodeCommand(mustEncode(t, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	b, err := ledger.EncodeOps(everyOp())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ledger.DecodeOps(b); err != nil || !reflect.DeepEqual(got, everyOp()) {
		t.Errorf("operations: %+v, %v", got, err)
	}
}

func TestResultsRoundTrip(t *testing.T) {
	rich := ledger.Account{
		ID: "acme", Plan: ledger.Scale, Suspended: true, Lifetime: micro, Free: 2 * micro, Purchased: 3 * micro, OpenBill: 4 * micro, UsageLimit: ledger.NoUsageLimit,
	}
	want := []ledger.Result{
		{},
		{Replayed: true, Account: rich, Entry: ledger.Entry{Key: "k", Type: ledger.Refund, Amount: ledger.MaxAmount, Index: 1 << 63}},
		{Err: ledger.ErrInsufficientCredits, Account: rich},
		{Err: ledger.ErrOverflow}, {Err: ledger.ErrKeyReused}, {Err: ledger.ErrStaleEpoch},
		{Err: ledger.ErrUnknownCommand}, {Err: ledger.ErrClusterID},
		{Err: ledger.ErrRestoring}, {Err: ledger.ErrNoRestore}, {Err: ledger.ErrBadBackup}, {Err: ledger.ErrUpgrade},
		{Err: ledger.ErrTokenExists}, {Err: ledger.ErrTooManyTokens}, {Err: ledger.ErrUnknownToken}, {Err: ledger.ErrLastAdmin},
	}
	small := ledger.Account{ID: "acme", Lifetime: 1, Free: 2, Purchased: 3, OpenBill: math.MaxInt64, UsageLimit: 5}
	for _, tt := range []struct {
		version uint64
		results []ledger.Result
	}{
		{3, want},
		{4, append(slices.Clone(want), ledger.Result{Account: small, Entry: ledger.Entry{Key: "k", Type: ledger.UsageReversal, Amount: 1}})},
	} {
		b, err := ledger.EncodeResults(tt.results, tt.version)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ledger.DecodeResults(b)
		if err != nil || !reflect.DeepEqual(got, tt.results) {
			t.Errorf("got %+v, %v; want %+v", got, err, tt.results)
		}
	}
	// A wrapped error keeps its code, and an error without a code is never a success.
	for in, out := range map[error]error{
		fmt.Errorf("charge: %w", ledger.ErrOverflow): ledger.ErrOverflow,
		errors.New("something else"):                 ledger.ErrUnknownCommand,
	} {
		b, err := ledger.EncodeResults([]ledger.Result{{Err: in}}, 3)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ledger.DecodeResults(b); err != nil || !errors.Is(got[0].Err, out) {
			t.Errorf("%v arrived as %+v, %v; want %v", in, got, err, out)
		}
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	entry := func(change func(*ledger.Op)) []byte {
		op := ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: "k", Amount: micro}
		change(&op)
		return mustEncode(t, &ledger.Command{Ops: []ledger.Op{op}})
	}
	good := entry(func(*ledger.Op) {})
	tests := []struct {
		name string
		in   []byte
		want error // nil: any
	}{
		{"nothing", nil, nil},
		{"another version", append([]byte{0x93, 0x7f}, good[2:]...), ledger.ErrUnknownCommand},
		{"bytes after it", append(bytes.Clone(good), 0), nil},
		{"an account too long", entry(func(o *ledger.Op) { o.Account = strings.Repeat("a", 129) }), nil},
		{"a key too long", entry(func(o *ledger.Op) { o.Key = strings.Repeat("k", 129) }), nil},
		{"an entry of no type", entry(func(o *ledger.Op) { o.Type = ledger.UsageReversal + 1 }), nil},
		{"too many operations", mustEncode(t, &ledger.Command{Ops: make([]ledger.Op, ledger.MaxOps+1)}), nil},
		{"a member's id too long", mustEncode(t, &ledger.Command{Ops: []ledger.Op{{Kind: ledger.OpMap, Map: mapOf(1, strings.Repeat("n", ledger.MaxNodeID+1))}}}), nil},
		{"a cluster id too long", mustEncode(t, &ledger.Command{Ops: []ledger.Op{{Kind: ledger.OpClusterID, ClusterID: strings.Repeat("n", ledger.MaxNodeID+1)}}}), nil},
		{"operations without end", []byte{0x93, 0x01, 0x00, 0xdd, 0xff, 0xff, 0xff, 0xff}, nil},
		{"too many bytes", make([]byte, ledger.MaxCommand+1), nil},
	}
	for _, tt := range tests {
		if c, err := ledger.DecodeCommand(tt.in); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v; want an error (%v)", tt.name, c, err, tt.want)
		}
	}
	for n := range good {
		if c, err := ledger.DecodeCommand(good[:n]); err == nil {
			t.Errorf("%d of %d bytes made %+v", n, len(good), c)
		}
	}
	if _, err := (&ledger.Command{Ops: []ledger.Op{{Kind: 200}}}).Encode(); !errors.Is(err, ledger.ErrUnknownCommand) {
		t.Errorf("an operation of no kind was encoded: %v", err)
	}
}

// TestFieldsOutOfBoundsAreRefused makes one field of a valid command invalid at a time.
func TestFieldsOutOfBoundsAreRefused(t *testing.T) {
	command := func(op ledger.Op) []byte { return mustEncode(t, &ledger.Command{Ops: []ledger.Op{op}}) }
	patch := command(ledger.Op{Kind: ledger.OpPatch, Account: "a", Patch: ledger.Patch{
		Plan: ptr(ledger.Scale), UsageLimit: ptr(7 * micro), Suspended: ptr(true),
		Overrides: &ledger.Overrides{List: []ledger.Override{{Category: "llm", MinTier: 9}}},
	}})
	token := command(ledger.Op{Kind: ledger.OpToken, Token: &ledger.Token{Name: "n", Hash: ledger.SecretHash{1}}})
	for name, c := range map[string]struct {
		in       []byte
		old, new string
	}{
		"a plan that is none":       {patch, "\xa1a\x01\x07\x01", "\xa1a\x03\x07\x01"},
		"a plan below all":          {patch, "\xa1a\x01\x07\x01", "\xa1a\xfd\x07\x01"},
		"a usage limit below all":   {patch, "\xa1a\x01\x07\x01", "\xa1a\x01\xfd\x01"},
		"suspended twice":           {patch, "\xa1a\x01\x07\x01", "\xa1a\x01\x07\x02"},
		"a tier above all":          {patch, "\xa3llm\xc2\x09", "\xa3llm\xc2\x65"},
		"a tier below none":         {patch, "\xa3llm\xc2\x09", "\xa3llm\xc2\xfe"},
		"a time above all":          {patch, "\x93\x01\x00", "\x93\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff"},
		"a kind below nothing":      {patch, "\x91\x97\x01", "\x91\x97\xff"},
		"a hash that is too short":  {token, "\xc4\x20\x01\x00", "\xc4\x1f\x01"},
		"more operations than come": {patch, "\x91\x97\x01", "\xdc\x03\xe8\x97\x01"},
	} {
		bad := bytes.Replace(c.in, []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(bad, c.in) {
			t.Fatalf("%s: %q is not in %q", name, c.old, c.in)
		}
		if got, err := ledger.DecodeCommand(bad); err == nil {
			t.Errorf("%s is read as %+v", name, got.Ops)
		}
	}
	ops, err := ledger.EncodeOps(everyOp())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.DecodeOps(append(ops, 0)); err == nil {
		t.Error("a byte after operations is accepted")
	}
	results, err := ledger.EncodeResults([]ledger.Result{{}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.DecodeResults(append(results, 0)); err == nil {
		t.Error("a byte after results is accepted")
	}
	m, err := mapOf(1, "n1").Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.DecodeMap(append(m, 0)); err == nil {
		t.Error("a byte after a map is accepted")
	}
}

// TestMapRoundTrip encodes and decodes maps of all sizes and compares their owners.
func TestMapRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ids []string
		for i := range rapid.IntRange(0, 20).Draw(t, "members") {
			ids = append(ids, fmt.Sprintf("n%02d", i))
		}
		want := mapOf(rapid.Uint64().Draw(t, "epoch"), ids...)
		b, err := (&ledger.Command{Ops: []ledger.Op{{Kind: ledger.OpMap, Map: want}}}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		c, err := ledger.DecodeCommand(b)
		if err != nil {
			t.Fatal(err)
		}
		got := c.Ops[0].Map
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("a map of %d members changed on its way", len(ids))
		}
		account := rapid.StringMatching(`[a-z0-9]{1,20}`).Draw(t, "account")
		owners, n := got.Owner(account)
		if n != min(3, len(ids)) {
			t.Fatalf("%d roles of %d members", n, len(ids))
		}
		if n > 0 {
			p := ledger.Partition(account)
			for i := range n {
				if owners[i] != ids[(p+i)%len(ids)] {
					t.Fatalf("role %d of partition %d is %q", i, p, owners[i])
				}
			}
		}
		sum := 0
		for _, owned := range got.Owned() {
			sum += owned
		}
		if len(ids) > 0 && sum != ledger.Partitions {
			t.Fatalf("%d partitions have an owner", sum)
		}
	})
}

func TestAMapThatIsNoneOwnsNothing(t *testing.T) {
	if _, n := (&ledger.Map{}).Owner("acme"); n != 0 {
		t.Errorf("%d roles in an empty map", n)
	}
	m := mapOf(1, "n1")
	m.Places[ledger.Partition("acme")] = [3]uint16{500, ledger.NoMember, 0}
	if ids, n := m.Owner("acme"); n != 3 || ids != [3]string{"", "", "n1"} {
		t.Errorf("%v of members that do not exist", ids[:n])
	}
}

func FuzzCommand(f *testing.F) {
	f.Add(mustEncode(f, &ledger.Command{Time: 1, Ops: everyOp()[:6]}))
	f.Add(mustEncode(f, &ledger.Command{Time: 1, Ops: everyOp()[9:]}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ledger.DecodeCommand(b)
		if err != nil {
			return
		}
		again, err := ledger.DecodeCommand(mustEncode(t, c))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("read %+v, then %+v, %v", c, again, err)
		}
		// Applying a decoded command must not panic.
		s, err := ledger.NewState()
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Apply(1, c); len(got) != len(c.Ops) {
			t.Fatalf("%d results of %d operations", len(got), len(c.Ops))
		}
	})
}

func FuzzResults(f *testing.F) {
	b, err := ledger.EncodeResults([]ledger.Result{{Replayed: true}, {Err: ledger.ErrOverflow}}, 3)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0x91, 0x97, 0xcc, 0xc8}) // an outcome of 200
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := ledger.DecodeResults(b)
		if err != nil {
			return
		}
		b, err = ledger.EncodeResults(first, 3)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ledger.DecodeResults(b); err != nil || !reflect.DeepEqual(again, first) {
			t.Fatalf("read %+v, then %+v, %v", first, again, err)
		}
	})
}
