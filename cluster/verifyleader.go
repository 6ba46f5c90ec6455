package cluster

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"

	"quorate/fsm/ledger"
)

// verifyLeader returns nil once a majority of the voters has answered that it
// knows no later term: no other leader can have been elected, and have
// acknowledged a write, before they were asked. Raft's own VerifyLeader counts
// nodes without a vote too: a leader that is cut off with some of them would
// believe that it leads.
func (n *Node) verifyLeader(ctx context.Context, term uint64) error {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Heartbeat)
	voters, have := 0, 0
	answers := make(chan bool, len(f.Configuration().Servers))
	asked := 0
	defer func() {
		cancel()
		for range asked {
			<-answers
		}
	}()
	for _, s := range f.Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if string(s.ID) == n.cfg.NodeID {
			have++
			continue
		}
		if r := n.peers.get(string(s.ID)); r != nil {
			asked++
			go func() {
				b, err := r.client.Call(ctx, methodTerm, nil)
				answers <- err == nil && len(b) == 8 && binary.BigEndian.Uint64(b) <= term
			}()
		}
	}
	for have < voters/2+1 {
		if asked == 0 {
			return fmt.Errorf("%d of %d voters know no later term than %d: %w", have, voters, term, ledger.ErrNoQuorum)
		}
		asked--
		if <-answers {
			have++
		}
	}
	return nil
}

func (n *Node) serveTerm() []byte { return binary.BigEndian.AppendUint64(nil, n.term()) }
