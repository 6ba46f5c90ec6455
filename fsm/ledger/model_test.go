package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// policies maps the documents in commands, valid and invalid, to the model's policies.
var policies = func() map[string]plainPolicy {
	write := func(valid bool, need int, spends, limits []int64) plainPolicy {
		doc := fmt.Sprintf("schema: 1\ncategories: {llm: {min_tier: %d}}\ntiers:\n", need)
		for i := range spends {
			doc += fmt.Sprintf("  - {level: %d, spend: \"%d\", limits: {llm: [{unit: requests, limit: %d, window: 1m}]}}\n", i+1, spends[i], limits[i])
		}
		return plainPolicy{doc: doc, valid: valid, spends: spends, limits: limits, need: need}
	}
	out := map[string]plainPolicy{}
	for _, p := range []plainPolicy{
		write(true, 1, []int64{5, 50, 100, 250, 1000}, []int64{600, 1800, 3000, 4500, 6000}),
		write(true, 2, []int64{1, 2}, []int64{7, 9}),
		write(true, 0, []int64{3}, []int64{1}),
		write(false, 1, []int64{5, 5}, []int64{600, 1800}),
		write(false, 3, []int64{5, 6}, []int64{600, 1800}),
		{doc: "schema: 1\ntiers: ["}, {doc: ""}, {doc: "schema: 2"},
	} {
		out[p.doc] = p
	}
	return out
}()

// docs lists the keys of policies in a fixed order.
var docs = func() (docs []string) {
	for doc := range policies {
		docs = append(docs, doc)
	}
	slices.Sort(docs)
	return docs
}()

// theDefault is the default policy, of which the test uses only llm.
var theDefault = plainPolicy{valid: true, need: 1, spends: []int64{5, 50, 100, 250, 1000}, limits: []int64{600, 1800, 3000, 4500, 6000}}

// replicas holds three states that must stay equal, and the model.
type replicas struct {
	*plain
	states [3]*ledger.State
	frozen *ledger.Frozen // of the second replica
	was    []byte         // the snapshot of frozen at its creation
}

// TestReplicasFollowTheModel applies the same random log to three replicas and the model.
// Each replica may be written out and read back between any two commands.
func TestReplicasFollowTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &replicas{plain: newPlain(theDefault)}
		for i := range r.states {
			s, err := ledger.NewState()
			if err != nil {
				t.Fatal(err)
			}
			r.states[i] = s
		}
		r.keepKeys(rapid.SampledFrom([]int{1, 5, 20, ledger.MaxKeys}).Draw(t, "keys kept"))
		switch rapid.IntRange(0, 59).Draw(t, "begins with") {
		case 0:
			r.whale(t)
		case 1, 2:
			r.crowd(t)
		}
		t.Repeat(map[string]func(*rapid.T){
			"apply":    func(t *rapid.T) { r.apply(t, r.command(t)) },
			"again":    func(t *rapid.T) { r.apply(t, r.command(t)) },
			"snapshot": func(t *rapid.T) { r.restart(t, rapid.IntRange(0, 2).Draw(t, "replica")) },
			"nonsense": r.nonsense,
			"freeze":   r.freeze,
			"compare":  func(t *rapid.T) { r.compare(t, rapid.IntRange(0, 2).Draw(t, "replica")) },
		})
		r.freeze(t)
		want := written(t, r.states[0])
		for i, s := range r.states {
			r.compare(t, i)
			if !bytes.Equal(written(t, s), want) {
				t.Errorf("replicas 0 and %d write different snapshots", i)
			}
		}
	})
}

func (r *replicas) keepKeys(n int) {
	r.mostKeys = n
	for _, s := range r.states {
		s.KeepKeys(n)
	}
}

// whale brings the amounts of an account close to overflow.
func (r *replicas) whale(t *rapid.T) {
	r.keepKeys(5)
	c := &ledger.Command{Time: 1}
	for i := range 9 {
		c.Ops = append(c.Ops, ledger.Op{Kind: ledger.OpEntry, Account: "a", Key: fmt.Sprint("much", i), Type: ledger.Purchase, Amount: ledger.MaxAmount})
		if len(c.Ops) == ledger.MaxOps || i == 8 {
			r.apply(t, c)
			c.Ops = nil
		}
	}
}

// crowd gives overrides with the same expiry to more accounts than one command expires,
// and replaces some of them before a snapshot.
func (r *replicas) crowd(t *rapid.T) {
	rules := []ledger.OverrideRule{{Category: "llm", MinTier: ptr(0), ExpiresAt: 1000}, {Category: "image", ExpiresAt: 2000}}
	for round := range 2 {
		for n := range 2 {
			c := &ledger.Command{Time: 1}
			for i := range 600 {
				if round == 0 || i%2 == 0 {
					c.Ops = append(c.Ops, overriding(t, fmt.Sprintf("crowd-%d-%03d", n, i), rules))
				}
			}
			r.apply(t, c)
		}
		if round == 0 {
			r.restart(t, rapid.IntRange(0, 2).Draw(t, "replica"))
		}
		rules[0].ExpiresAt++
	}
	r.restart(t, rapid.IntRange(0, 2).Draw(t, "replica"))
}

func overriding(t fataler, account string, rules []ledger.OverrideRule) ledger.Op {
	o, err := ledger.CompileOverrides(rules)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Op{Kind: ledger.OpPatch, Account: account, Patch: ledger.Patch{Overrides: o}}
}

// command draws a random command from few accounts, keys and amounts, so that they
// collide.
func (r *replicas) command(t *rapid.T) *ledger.Command {
	step := rapid.SampledFrom([]int64{-30 * hour, -1, 0, 0, 1, 1, 2, hour, 23 * hour, 24*hour - 1, 24 * hour, 30 * hour}).Draw(t, "time")
	c := &ledger.Command{Time: max(0, r.now+step)}
	for range rapid.IntRange(0, 12).Draw(t, "operations") {
		c.Ops = append(c.Ops, r.op(t))
	}
	return c
}

func (r *replicas) op(t *rapid.T) ledger.Op {
	account := rapid.SampledFrom([]string{"a", "b", "c", "d", "crowd-0-000"}).Draw(t, "account")
	switch rapid.IntRange(0, 15).Draw(t, "kind") {
	case 0:
		return ledger.Op{Kind: ledger.OpDelete, Account: account}
	case 1:
		return ledger.Op{
			Kind: ledger.OpPolicy, Doc: rapid.SampledFrom(docs).Draw(t, "document"),
			IfMatch: rapid.SampledFrom([]uint64{0, 0, r.revision, r.revision + 1}).Draw(t, "if match"),
		}
	case 2:
		return ledger.Op{Kind: ledger.OpMap, Map: mapOf(r.epoch+rapid.Uint64Range(0, 2).Draw(t, "epoch"), "n1", "n2")}
	case 3:
		return ledger.Op{Kind: ledger.OpClusterID, ClusterID: account}
	case 4:
		return ledger.Op{Kind: ledger.OpTick}
	case 5, 6, 7:
		o := ledger.Op{Kind: ledger.OpPatch}
		if rapid.Bool().Draw(t, "with overrides") {
			o = overriding(t, account, r.overrides(t))
		}
		o.Account = account
		o.Patch.Plan = rapid.Ptr(rapid.SampledFrom([]ledger.Plan{ledger.Build, ledger.Build, ledger.Scale, ledger.Enterprise}), true).Draw(t, "plan")
		o.Patch.UsageLimit = rapid.Ptr(rapid.SampledFrom([]ledger.Money{ledger.NoUsageLimit, 0, 1, micro, 3 * ledger.Dollar}), true).Draw(t, "limit")
		o.Patch.Suspended = rapid.Ptr(rapid.Bool(), true).Draw(t, "suspended")
		return o
	case 9:
		if ledger.NewestVersion() < 4 {
			break
		}
		if rapid.Bool().Draw(t, "of the time") {
			return ledger.Op{Kind: ledger.OpSetting, Setting: ledger.Setting{Kind: ledger.KeyMemory, Value: rapid.SampledFrom([]int64{hour, 24 * hour, 100 * hour}).Draw(t, "key memory")}}
		}
		return ledger.Op{Kind: ledger.OpSetting, Setting: ledger.Setting{Kind: ledger.KeyMemoryEntries, Value: rapid.SampledFrom([]int64{1, 3, 20, ledger.MaxKeys}).Draw(t, "entries")}}
	case 8:
		return ledger.Op{Kind: ledger.OpVersion, Version: rapid.Uint64Range(1, ledger.NewestVersion()).Draw(t, "version")}
	}
	o := ledger.Op{
		Kind: ledger.OpEntry, Account: account, Key: fmt.Sprint(rapid.IntRange(0, 30).Draw(t, "key")),
		Type: ledger.EntryType(rapid.IntRange(0, int(ledger.UsageReversal)).Draw(t, "type")),
		Amount: rapid.SampledFrom([]ledger.Money{
			1, 2, micro, 2 * micro, 1000*micro + 1, ledger.Dollar, 5 * ledger.Dollar, 45*ledger.Dollar - 1, 45*ledger.Dollar - micro, 1000 * ledger.Dollar, ledger.MaxAmount, ledger.MaxAmount + 1, 0, -1,
		}).Draw(t, "amount"),
	}
	if rapid.Bool().Draw(t, "says when") {
		edge := rapid.SampledFrom([]int64{r.now, r.now + 60_000, r.now - r.keyMemory, r.forgot, r.keysSince()}).Draw(t, "issued")
		o.Issued = max(0, edge+rapid.Int64Range(-1, 1).Draw(t, "issued, off by"))
	}
	return o
}

func (r *replicas) overrides(t *rapid.T) (rules []ledger.OverrideRule) {
	for _, scope := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"llm", "image", "*"}), 0, 3, rapid.ID).Draw(t, "scopes") {
		o := ledger.OverrideRule{
			Category: scope, MinTier: rapid.Ptr(rapid.IntRange(0, 2), true).Draw(t, "need"),
			ExpiresAt: max(0, rapid.SampledFrom([]int64{-r.now, -r.now, 0, 1, 2, hour, 23 * hour}).Draw(t, "until")+r.now),
		}
		if scope == "*" {
			o.Category, o.Match = "", "nobody/*"
		}
		if rapid.Bool().Draw(t, "with limits") {
			o.Limits = &[]ledger.LimitRule{}
			if rapid.Bool().Draw(t, "a limit") {
				*o.Limits = append(*o.Limits, ledger.LimitRule{Unit: "tokens", Limit: 9, Burst: 99, Window: "90s"})
			}
		}
		rules = append(rules, o)
	}
	return rules
}

// apply applies a command to all. The first replica gets the command itself, the others
// its decoded encoding.
func (r *replicas) apply(t *rapid.T, c *ledger.Command) {
	index := r.index + 1
	want := r.plain.apply(index, c)
	for i, s := range r.states {
		sent := c
		if i > 0 {
			b, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if sent, err = ledger.DecodeCommand(b); err != nil {
				t.Fatal(err)
			}
		}
		for n, got := range s.Apply(index, sent) {
			if o := outcomeOf(&got); o != want[n] {
				t.Fatalf("replica %d, entry %d, operation %d, %+v:\n got %+v\nwant %+v", i, index, n, c.Ops[n], o, want[n])
			}
		}
	}
	r.sameHash(t)
}

// outcomeOf converts a result to the form of the model.
func outcomeOf(got *ledger.Result) outcome {
	o := outcome{replayed: got.Replayed, entry: got.Entry, revision: got.Revision}
	if got.Account.ID != "" {
		o.account = describe(got.Account.ID, asPlain(&got.Account))
	}
	for _, known := range []error{
		ledger.ErrInsufficientCredits, ledger.ErrOverflow, ledger.ErrKeyReused, ledger.ErrStaleEpoch, ledger.ErrUnknownCommand, ledger.ErrClusterID,
		ledger.ErrKeyExpired, ledger.ErrRevision, ledger.ErrInvalidPolicy, ledger.ErrNotEmpty, ledger.ErrUnknownAccount, ledger.ErrPastExpiry,
		ledger.ErrIssuedInFuture, ledger.ErrUpgrade,
	} {
		if errors.Is(got.Err, known) {
			o.err = known
		}
	}
	return o
}

// nonsense applies a log entry that is invalid in every version: every replica skips it.
func (r *replicas) nonsense(t *rapid.T) {
	b := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")
	if _, err := ledger.DecodeCommand(b); err == nil {
		t.Skip("it can be read")
	}
	r.index++
	for _, s := range r.states {
		s.Skip(r.index)
	}
	r.sameHash(t)
}

// freeze checks that the last frozen state has not changed, and freezes again.
func (r *replicas) freeze(t *rapid.T) {
	var buf bytes.Buffer
	if r.frozen != nil {
		if err := r.frozen.Write(&buf); err != nil || !bytes.Equal(buf.Bytes(), r.was) {
			t.Fatalf("what was frozen at index %d has changed (%v)", r.frozen.Index, err)
		}
		buf.Reset()
	}
	r.frozen = r.states[1].Freeze()
	if err := r.frozen.Write(&buf); err != nil {
		t.Fatal(err)
	}
	r.was = buf.Bytes()
}

// restart writes a replica out and reads it back.
func (r *replicas) restart(t *rapid.T, i int) {
	r.states[i] = restored(t, r.states[i])
	if r.states[i].Settings()[ledger.KeyMemoryEntries] == 0 {
		r.states[i].KeepKeys(r.mostKeys)
	}
	r.sameHash(t)
}

func (r *replicas) sameHash(t *rapid.T) {
	index, sum := r.states[0].Hash()
	for i, s := range r.states {
		if at, got := s.Hash(); at != index || got != sum || s.Index() != r.index {
			t.Fatalf("replica %d at index %d has the hash %x of %d; replica 0 %x of %d; the log is at %d", i, s.Index(), got, at, sum, index, r.index)
		}
	}
}

// compare compares everything that a replica returns with the model.
func (r *replicas) compare(t *rapid.T, i int) {
	s := r.states[i]
	if s.Now() != r.now || s.KeysSince() != r.keysSince() || s.NextExpiry() != r.nextExpiry() || s.ClusterID() != r.clusterID ||
		s.Map().Epoch != r.epoch || s.Table().Revision != r.revision {
		t.Fatalf("replica %d: now %d, keys since %d, next expiry %d, id %q, epoch %d, revision %d; want %d, %d, %d, %q, %d, %d", i,
			s.Now(), s.KeysSince(), s.NextExpiry(), s.ClusterID(), s.Map().Epoch, s.Table().Revision,
			r.now, r.keysSince(), r.nextExpiry(), r.clusterID, r.epoch, r.revision)
	}
	for _, tier := range []int{-1, int(r.index % 3)} {
		var ids []string
		for _, a := range s.List(ledger.Query{Tier: tier, Limit: len(r.accounts) + 1}) {
			ids = append(ids, a.ID)
		}
		if want := r.sortedIDs(tier); !slices.Equal(ids, want) {
			t.Fatalf("replica %d lists %v at tier %d, want %v", i, ids, tier, want)
		}
	}
	for id, want := range r.accounts {
		got := s.Account(id)
		if got := describe(id, asPlain(got)); got != describe(id, want) {
			t.Fatalf("replica %d:\n got %s\nwant %s", i, got, describe(id, want))
		}
		reason, limit := r.llm(want)
		ruling := s.Table().Rule(got, &bucket.Check{Account: id, Category: "llm"})
		if has := limitOf(ruling); ruling.Reason.String() != reason || has != limit || ruling.Tier != r.tier(want) || got.Blocked() != want.blocked() {
			t.Fatalf("replica %d, %s: %+v, blocked %t; want tier %d, %s, limit %d", i, describe(id, want), ruling, got.Blocked(), r.tier(want), reason, limit)
		}
	}
	for _, id := range []string{"a", "b", "nobody"} {
		for key := range 31 {
			name := fmt.Sprint(key)
			k, known := r.keys[id+"\x00"+name]
			if e, ok := s.Entry(id, name); ok != known || ok && (e.Index != k.index || e.Type.String() != k.typ || int64(e.Amount) != k.amount) {
				t.Fatalf("replica %d, key %s of %s: %+v, %t; want %+v, %t", i, name, id, e, ok, k, known)
			}
		}
	}
}

// limitOf returns a ruling's one limit; 0 for a denial, -1 for no limit.
func limitOf(r bucket.Ruling) int64 {
	switch {
	case r.Reason != bucket.OK:
		return 0
	case len(r.Limits) == 0:
		return -1
	}
	return r.Limits[0].Limit.Limit
}
