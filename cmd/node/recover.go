package node

import (
	"context"

	"quorate/cluster"
	"quorate/fsm"
	"quorate/fsm/ledger"
)

// Recovered is what a data directory holds, and who will be in the cluster.
type Recovered = cluster.Recovered

// Recover makes the node of a data directory, and those of with, all there is of
// a cluster that has lost its majority; see cluster.Recover. With dry it only
// looks.
func Recover(ctx context.Context, dataDir string, with []string, dry bool) (Recovered, error) {
	empty := func() (m *fsm.Machine, err error) { return fsm.New(func(*ledger.Map) {}) }
	if _, err := empty(); err != nil {
		return Recovered{}, err
	}
	return cluster.Recover(ctx, cluster.Recovery{
		DataDir: dataDir, With: with, DryRun: dry,
		NewFSM: func() cluster.FSM { m, _ := empty(); return m }, // as it did above
	})
}
