package ledger

// The versions of commands. A command is written in the lowest version that has all its
// operations. The leader writes no command above the version in force. An entry of the
// log raises the version in force once every node of the cluster knows it.
//
//	1	entries, patches, maps, the cluster's id, policies, deletions, ticks, OpVersion
//	2	OpRestore
//	3	OpToken, OpRevoke, OpNote, OpRemove; Op.By in any
//	4	amounts in nano-dollars; the entry types Chargeback and UsageReversal;
//		Apply refuses an Op.Issued that is ahead of the log's time; OpSetting
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
	currentVersion = 3
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

// since returns the first version that has a type of entry.
func (t EntryType) since() uint64 { return firstVersion }

// version returns the first version that has the operation.
func (o *Op) version() uint64 {
	v := o.Kind.since()
	if o.By != "" {
		v = max(v, 3)
	}
	if o.Kind == OpEntry {
		v = max(v, o.Type.since())
	}
	return v
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
