package ledger_test

import (
	"math"
	"math/big"
	"slices"
	"sort"

	"quorate/fsm/ledger"
)

// plain is a second, simple implementation of the documented ledger: maps, loops and big
// numbers, without regard to speed. It shares no code with State except the types of
// commands.
type plain struct {
	index     uint64
	now       int64
	forgot    int64 // time of the newest forgotten key
	mostKeys  int
	keyMemory int64
	accounts  map[string]plainAccount
	keys      map[string]plainKey // by account, zero byte and key
	order     []string            // of the keys, oldest first
	policy    plainPolicy
	revision  uint64
	epoch     uint64
	clusterID string
	version   uint64 // of commands
}

type plainAccount struct {
	plan      string
	suspended bool
	lifetime  *big.Int // in nano-dollars, as all below
	free      *big.Int
	purchased *big.Int
	bill      *big.Int
	limit     *big.Int // nil: none
	overrides []ledger.OverrideRule
}

type plainKey struct {
	typ    string
	amount int64
	index  uint64
	time   int64
}

// plainPolicy is a policy with one limit of llm per tier.
type plainPolicy struct {
	doc    string
	valid  bool
	spends []int64 // dollars, of tier 1 upward
	limits []int64
	need   int // min_tier of llm
}

// outcome is a result in a form that both sides have.
type outcome struct {
	err      error
	replayed bool
	entry    ledger.Entry
	account  string
	revision uint64
}

func newPlain(p plainPolicy) *plain {
	return &plain{accounts: map[string]plainAccount{}, keys: map[string]plainKey{}, policy: p, revision: 1, mostKeys: ledger.MaxKeys, keyMemory: 24 * hour, version: 1}
}

func fresh() plainAccount {
	zero := big.NewInt(0)
	return plainAccount{plan: "build", lifetime: zero, free: zero, purchased: zero, bill: zero}
}

func (p *plain) account(id string) plainAccount {
	if a, ok := p.accounts[id]; ok {
		return a
	}
	return fresh()
}

func (p *plain) apply(index uint64, c *ledger.Command) []outcome {
	if c.Time > p.now {
		p.now = c.Time
	}
	p.expire()
	var out []outcome
	for _, o := range c.Ops {
		out = append(out, p.one(index, o))
	}
	p.index = index
	return out
}

// expire removes expired overrides, of at most 1000 accounts: in the order of their expiry,
// and for equal times of their ids.
func (p *plain) expire() {
	type due struct {
		at int64
		id string
	}
	var list []due
	for id, a := range p.accounts {
		if at := firstExpiry(a); at != 0 && at <= p.now {
			list = append(list, due{at, id})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].at < list[j].at || list[i].at == list[j].at && list[i].id < list[j].id
	})
	for _, d := range list[:min(len(list), 1000)] {
		a := p.accounts[d.id]
		var left []ledger.OverrideRule
		for _, o := range a.overrides {
			if o.ExpiresAt == 0 || o.ExpiresAt > p.now {
				left = append(left, o)
			}
		}
		a.overrides = left
		p.accounts[d.id] = a
	}
}

// firstExpiry returns the time at which the account's next override expires, 0 for never.
func firstExpiry(a plainAccount) (at int64) {
	for _, o := range a.overrides {
		if o.ExpiresAt != 0 && (at == 0 || o.ExpiresAt < at) {
			at = o.ExpiresAt
		}
	}
	return at
}

// nextExpiry is the earliest firstExpiry of all accounts.
func (p *plain) nextExpiry() (at int64) {
	for _, a := range p.accounts {
		if e := firstExpiry(a); e != 0 && (at == 0 || e < at) {
			at = e
		}
	}
	return at
}

func (p *plain) one(index uint64, o ledger.Op) outcome {
	switch o.Kind {
	case ledger.OpEntry:
		return p.entry(index, o)
	case ledger.OpPatch:
		return p.patch(o)
	case ledger.OpDelete:
		a, ok := p.accounts[o.Account]
		switch {
		case !ok:
			return outcome{err: ledger.ErrUnknownAccount, account: describe(o.Account, fresh())}
		case a.free.Sign() != 0 || a.purchased.Sign() != 0 || a.bill.Sign() != 0:
			return outcome{err: ledger.ErrNotEmpty, account: describe(o.Account, a)}
		}
		delete(p.accounts, o.Account)
		return outcome{account: describe(o.Account, a)}
	case ledger.OpPolicy:
		next, known := policies[o.Doc]
		switch {
		case o.IfMatch != 0 && o.IfMatch != p.revision:
			return outcome{err: ledger.ErrRevision, revision: p.revision}
		case !known || !next.valid:
			return outcome{err: ledger.ErrInvalidPolicy, revision: p.revision}
		}
		p.policy = next
		p.revision++
		return outcome{revision: p.revision}
	case ledger.OpMap:
		if o.Map.Epoch != p.epoch+1 {
			return outcome{err: ledger.ErrStaleEpoch}
		}
		p.epoch++
		return outcome{}
	case ledger.OpClusterID:
		if p.clusterID != "" {
			return outcome{err: ledger.ErrClusterID}
		}
		p.clusterID = o.ClusterID
		return outcome{}
	case ledger.OpTick:
		return outcome{}
	case ledger.OpSetting:
		if o.Setting.Kind == ledger.KeyMemory {
			p.keyMemory = o.Setting.Value
		} else {
			p.mostKeys = int(o.Setting.Value)
		}
		return outcome{}
	case ledger.OpVersion:
		p.version = max(p.version, o.Version)
		return outcome{}
	}
	return outcome{err: ledger.ErrUnknownCommand}
}

func (p *plain) entry(index uint64, o ledger.Op) outcome {
	isNew := o.Type == ledger.Chargeback || o.Type == ledger.UsageReversal || o.Amount%1000 != 0
	if isNew && p.version < 4 {
		return outcome{err: ledger.ErrUpgrade, account: describe(o.Account, p.account(o.Account))}
	}
	// First forget at most 8 keys that are too old or too many.
	for range 8 {
		if len(p.order) == 0 {
			break
		}
		oldest := p.keys[p.order[0]]
		if len(p.order) < p.mostKeys && p.now-oldest.time < p.keyMemory {
			break
		}
		p.forgot = max(p.forgot, oldest.time)
		delete(p.keys, p.order[0])
		p.order = p.order[1:]
	}
	a := p.account(o.Account)
	name := o.Account + "\x00" + o.Key
	if k, ok := p.keys[name]; ok {
		if k.typ != o.Type.String() || k.amount != int64(o.Amount) {
			return outcome{err: ledger.ErrKeyReused, account: describe(o.Account, a)}
		}
		return outcome{replayed: true, entry: ledger.Entry{Key: o.Key, Type: o.Type, Amount: o.Amount, Index: k.index}, account: describe(o.Account, a)}
	}
	if o.Issued != 0 && o.Issued < p.keysSince() {
		return outcome{err: ledger.ErrKeyExpired, account: describe(o.Account, a)}
	}
	at := p.now
	if p.version >= 4 {
		if o.Issued > p.now+60_000 {
			return outcome{err: ledger.ErrIssuedInFuture, account: describe(o.Account, a)}
		}
		at = max(at, o.Issued)
	}
	next, err := charge(a, o.Type.String(), big.NewInt(int64(o.Amount)))
	if err != nil {
		return outcome{err: err, account: describe(o.Account, a)}
	}
	p.accounts[o.Account] = next
	p.keys[name] = plainKey{o.Type.String(), int64(o.Amount), index, at}
	p.order = append(p.order, name)
	return outcome{entry: ledger.Entry{Key: o.Key, Type: o.Type, Amount: o.Amount, Index: index}, account: describe(o.Account, next)}
}

// keysSince returns the time since which all keys are remembered.
func (p *plain) keysSince() int64 {
	if p.now == 0 {
		return 0
	}
	return max(0, p.now-p.keyMemory, p.forgot+1)
}

// charge implements the documented table of entry types, line by line.
func charge(a plainAccount, typ string, amount *big.Int) (plainAccount, error) {
	plus := func(x, y *big.Int) *big.Int { return new(big.Int).Add(x, y) }
	minus := func(x, y *big.Int) *big.Int { return new(big.Int).Sub(x, y) }
	least := func(x, y *big.Int) *big.Int {
		if x.Cmp(y) < 0 {
			return x
		}
		return y
	}
	if amount.Sign() <= 0 || amount.Cmp(big.NewInt(1e18)) > 0 {
		return a, ledger.ErrOverflow
	}
	switch typ {
	case "purchase":
		a.purchased, a.lifetime = plus(a.purchased, amount), plus(a.lifetime, amount)
	case "free_credit":
		a.free = plus(a.free, amount)
	case "usage":
		fromFree := least(a.free, amount)
		fromPaid := least(a.purchased, minus(amount, fromFree))
		a.free, a.purchased = minus(a.free, fromFree), minus(a.purchased, fromPaid)
		a.bill = plus(a.bill, minus(minus(amount, fromFree), fromPaid))
	case "payment":
		pays := least(a.bill, amount)
		a.bill = minus(a.bill, pays)
		a.purchased, a.lifetime = plus(a.purchased, minus(amount, pays)), plus(a.lifetime, amount)
	case "chargeback":
		takes := least(a.purchased, amount)
		a.purchased = minus(a.purchased, takes)
		a.bill = plus(a.bill, minus(amount, takes))
		if a.lifetime = minus(a.lifetime, amount); a.lifetime.Sign() < 0 {
			a.lifetime = big.NewInt(0)
		}
	case "usage_reversal":
		clears := least(a.bill, amount)
		a.bill = minus(a.bill, clears)
		a.free = plus(a.free, minus(amount, clears))
	case "refund":
		if a.purchased.Cmp(amount) < 0 {
			return a, ledger.ErrInsufficientCredits
		}
		a.purchased = minus(a.purchased, amount)
		if a.lifetime = minus(a.lifetime, amount); a.lifetime.Sign() < 0 {
			a.lifetime = big.NewInt(0)
		}
	}
	for _, sum := range []*big.Int{a.purchased, a.lifetime, a.free, a.bill} {
		if sum.Cmp(big.NewInt(math.MaxInt64)) > 0 {
			return a, ledger.ErrOverflow
		}
	}
	return a, nil
}

func (p *plain) patch(o ledger.Op) outcome {
	a := p.account(o.Account)
	if l := o.Patch.UsageLimit; l != nil && *l > 0 && *l%1000 != 0 && p.version < 4 {
		return outcome{err: ledger.ErrUpgrade, account: describe(o.Account, a)}
	}
	if o.Patch.Plan != nil {
		a.plan = o.Patch.Plan.String()
	}
	if l := o.Patch.UsageLimit; l != nil {
		a.limit = nil
		if *l != ledger.NoUsageLimit {
			a.limit = big.NewInt(int64(*l))
		}
	}
	if o.Patch.Suspended != nil {
		a.suspended = *o.Patch.Suspended
	}
	if o.Patch.Overrides != nil {
		rules := asRules(o.Patch.Overrides)
		for _, r := range rules {
			if r.ExpiresAt != 0 && r.ExpiresAt <= p.now {
				return outcome{err: ledger.ErrPastExpiry, account: describe(o.Account, p.account(o.Account))}
			}
		}
		a.overrides = rules
	}
	p.accounts[o.Account] = a
	return outcome{account: describe(o.Account, a)}
}

// tier returns the level that a lifetime spend reaches.
func (p *plain) tier(a plainAccount) (level int) {
	for i, dollars := range p.policy.spends {
		if a.lifetime.Cmp(new(big.Int).Mul(big.NewInt(dollars), big.NewInt(1e9))) >= 0 {
			level = i + 1
		}
	}
	return level
}

func (a *plainAccount) blocked() bool {
	return a.limit != nil && a.free.Sign() == 0 && a.purchased.Sign() == 0 && a.bill.Cmp(a.limit) >= 0
}

// llm returns the ruling of a check of the category llm: the reason, and the limit if the
// reason is ok; -1 means no limit.
func (p *plain) llm(a plainAccount) (reason string, limit int64) {
	tier := p.tier(a)
	need, limit, own := p.policy.need, int64(0), false
	if tier > 0 {
		limit = p.policy.limits[tier-1]
	}
	if a.plan != "build" {
		limit = p.policy.limits[len(p.policy.limits)-1]
	}
	for _, o := range a.overrides {
		if o.Category != "llm" {
			continue
		}
		if o.MinTier != nil {
			need = *o.MinTier
		}
		if o.Limits != nil {
			own, limit = true, -1
			if len(*o.Limits) > 0 {
				limit = (*o.Limits)[0].Limit
			}
		}
	}
	// Tier 0 has no limit of llm while others have: access only by an override.
	access := a.plan != "build" || tier >= need && (tier > 0 || own)
	switch {
	case a.suspended:
		return "suspended", 0
	case !access && tier == 0:
		return "free_tier", 0
	case !access:
		return "tier_access", 0
	case a.blocked():
		return "usage_limit", 0
	}
	return "ok", limit
}

// sortedIDs returns the sorted ids of the accounts in a tier, -1 for all.
func (p *plain) sortedIDs(tier int) (ids []string) {
	for id, a := range p.accounts {
		if tier < 0 || p.tier(a) == tier {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
