package ledger

// The versions of commands. A command is written in the lowest version that has all its
// operations. The leader writes no command above the version in force. An entry of the
// log raises the version in force once every node of the cluster knows it.
//
//	1	entries, patches, maps, the cluster's id, policies, deletions, ticks, OpVersion
//	2	OpRestore
//	3	OpToken, OpRevoke, OpNote, OpRemove; Op.By in any
const (
	firstVersion   = 1
	currentVersion = 3
)

// NewestVersion returns the newest version of commands that this program knows.
func NewestVersion() uint64 { return newestVersion }

// since returns the first version that has a kind of operation.
func (k OpKind) since() uint64 {
	switch {
	case k >= OpToken:
		return 3
	case k >= OpRestore:
		return 2
	}
	return firstVersion
}

// VersionOf returns the version of commands that the operations need.
func VersionOf(ops []Op) uint64 {
	v := uint64(firstVersion)
	for i := range ops {
		v = max(v, ops[i].Kind.since())
		if ops[i].By != "" {
			v = max(v, 3)
		}
	}
	return v
}

// Version returns the version of commands in force.
func (s *State) Version() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}
