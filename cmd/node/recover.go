package node

import (
	"context"

	"quorate/cluster"
	"quorate/fsm"
	"quorate/fsm/ledger"
)

// Recovered is the result of Recover; see cluster.Recovered.
type Recovered = cluster.Recovered

// Recover reduces a cluster that has lost its majority to the node of a data directory
// and those in with; see cluster.Recover. With dry it only reports.
func Recover(ctx context.Context, dataDir string, with []string, dry bool) (Recovered, error) {
	empty := func() (m *fsm.Machine, err error) { return fsm.New(func(*ledger.Map) {}) }
	if _, err := empty(); err != nil {
		return Recovered{}, err
	}
	return cluster.Recover(ctx, cluster.Recovery{
		DataDir: dataDir, With: with, DryRun: dry,
		NewFSM: func() cluster.FSM { m, _ := empty(); return m }, // the call above has succeeded
	})
}
