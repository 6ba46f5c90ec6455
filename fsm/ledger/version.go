package ledger

import (
	"math"
	"strings"

	"quorate/limiter/codec"
)

// The versions of commands. A command is written in the lowest version that has all its
// operations. The leader writes no command above the version in force. An entry of the
// log raises the version in force once every node of the cluster knows it.
//
//	1	entries, patches, maps, the cluster's id, policies, deletions, ticks, OpVersion
//	2	OpRestore
//	3	OpToken, OpRevoke, OpNote, OpRemove; Op.By in any
//	4	amounts in nano-dollars; the entry types Chargeback and UsageReversal;
//		Apply refuses an Op.Issued that is ahead of the log's time; OpSetting, OpSecret, OpSettle
//
// The version of an operation follows from its content. Whatever this program accepts
// and a program of an earlier version refuses must raise it: the replicas of the earlier
// version would skip the command, those of this program would apply it, and their states
// would differ. Below version 4 a state is also written as before version 4: amounts in
// micro-dollars in snapshots, backups, results and the running hash, so that the earlier
// program can go on with it.
const (
	firstVersion   = 1
	nanoVersion    = 4 // the first version whose amounts are nano-dollars
	timeVersion    = 4 // the first version in which the log's time limits Op.Issued
	currentVersion = 4
)

// HeldVersion is the newest version of commands of the program's version before.
// MessageVersion is the first version whose operations and results an earlier program
// cannot read.
const (
	HeldVersion    = currentVersion - 1
	MessageVersion = nanoVersion
)

// NewestVersion returns the newest version of commands that this program knows.
func NewestVersion() uint64 { return newestVersion }

// since returns the first version that has a kind of operation.
func (k OpKind) since() uint64 {
	switch {
	case k >= OpSetting:
		return timeVersion
	case k >= OpToken:
		return 3
	case k >= OpRestore:
		return 2
	}
	return firstVersion
}

// Since returns the first version that has a kind of operation.
func (k OpKind) Since() uint64 { return k.since() }

// since returns the first version that has a type of entry.
func (t EntryType) since() uint64 {
	if t >= Chargeback {
		return nanoVersion
	}
	return firstVersion
}

// entryTypesIn returns the number of types of entries that a version has.
func entryTypesIn(v uint64) int {
	if v < nanoVersion {
		return int(Chargeback)
	}
	return len(entryNames)
}

// decodeEntryType reads a type that version v has. A program of an earlier version skips a
// command with another one as invalid, so this program must too.
func decodeEntryType(r *codec.Reader, v uint64) EntryType { return EntryType(r.Below(entryTypesIn(v))) }

// version returns the first version that has the operation.
func (o *Op) version() uint64 {
	v := o.Kind.since()
	if o.By != "" {
		v = max(v, 3)
	}
	switch o.Kind {
	case OpEntry:
		v = max(v, o.Type.since(), o.Amount.version())
	case OpPatch:
		if l := o.Patch.UsageLimit; l != nil {
			v = max(v, limitVersion(*l))
		}
	case OpPolicy:
		v = max(v, policyVersion(o.Doc))
	case OpRestore:
		v = max(v, o.Restore.version())
	}
	return v
}

// policyVersion returns the first version whose programs accept the policy. An invalid
// policy is one in every version.
func policyVersion(doc string) uint64 {
	p, err := ParsePolicy([]byte(doc))
	if err != nil {
		return firstVersion
	}
	return p.version()
}

func (p *Policy) version() uint64 {
	v := uint64(firstVersion)
	for _, t := range p.Tiers {
		if _, frac, _ := strings.Cut(t.Spend, "."); len(frac) > 6 {
			v = nanoVersion
		}
	}
	return v
}

// version returns the first version that has the step.
func (o *RestoreStep) version() uint64 {
	if o.Kind == RestoreBlock && len(o.Block) > 0 {
		return section(o.Block[0]).since()
	}
	return OpRestore.since()
}

// since returns the first version that has a section of a backup.
func (s section) since() uint64 {
	switch s {
	case secNanoAccounts, secNanoKeys, secSettleTime, secSettleKeys:
		return nanoVersion
	}
	return firstVersion
}

// VersionOf returns the version of commands that the operations need.
func VersionOf(ops []Op) uint64 {
	v := uint64(firstVersion)
	for i := range ops {
		v = max(v, ops[i].version())
	}
	return v
}

// Version returns the version of commands in force.
func (s *State) Version() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// Guard returns a function that refuses, with ErrOverflow, the operations of one command
// that could make the state unfit, see Unfit. A leader asks it below nanoVersion. It leaves
// room for one entry of another command that is on its way.
func (s *State) Guard() func(Op) error {
	added := map[string]Money{}
	return func(o Op) error {
		if o.Kind != OpEntry || o.Amount <= 0 || o.Amount > MaxAmount {
			return nil
		}
		a := s.current(o.Account)
		most := max(a.Lifetime, a.Free, a.Purchased, a.OpenBill)
		if most > math.MaxInt64-MaxAmount-added[o.Account]-o.Amount {
			return ErrOverflow
		}
		added[o.Account] += o.Amount
		return nil
	}
}
