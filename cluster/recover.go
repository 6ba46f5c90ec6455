package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorate/cluster/storage"
)

// Recovery configures Recover.
type Recovery struct {
	DataDir string
	With    []string   // ids of other remaining nodes, each recovered with the same set
	NewFSM  func() FSM // returns an empty state machine
	DryRun  bool       // report only; nothing is written to the directory
}

// Recovered is the contents of a data directory, and the recovered cluster.
type Recovered struct {
	NodeID    string
	ClusterID string
	Index     uint64 // last of the log; recover from the node with the highest term, then index
	Term      uint64
	Epoch     uint64 // of the ownership map; after recovery that of the new one
	Members   []raft.Server
	Left      []raft.Server // those of Members that remain
	Wait      time.Duration // how long Recover waits: a lease
}

// Recover reduces a cluster that has lost its majority for good to this node and those
// in r.With. It keeps every entry of the log, committed or not. The epoch rises far and
// no partition has an owner, so that no earlier lease is valid beside a later one; the
// other nodes count as removed, so that their data cannot return. Recover then waits
// until every lease that this node has granted or held has expired. The node must not
// run. Its errors wrap storage.ErrDataDir, storage.ErrEmpty or ErrUnknownNode.
func Recover(ctx context.Context, r Recovery) (Recovered, error) {
	id, err := storage.ReadNodeID(r.DataDir)
	if err != nil {
		return Recovered{}, err
	}
	out := Recovered{NodeID: id}
	d, err := r.open(id)
	if err != nil {
		return out, err
	}
	err = r.run(ctx, d, &out)
	return out, errors.Join(err, d.Close())
}

func (r Recovery) open(id string) (*storage.Dir, error) {
	if r.DryRun {
		return storage.OpenReadOnly(r.DataDir)
	}
	return storage.Open(r.DataDir, id, storage.Options{})
}

func (r Recovery) run(ctx context.Context, d *storage.Dir, out *Recovered) error {
	fsm := r.NewFSM()
	if err := out.replay(d, fsm); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrDataDir, err)
	}
	keep := append([]string{out.NodeID}, r.With...)
	for _, id := range keep {
		s := find(out.Members, id)
		if s == nil {
			return fmt.Errorf("%s: %w", id, ErrUnknownNode)
		}
		if find(out.Left, id) == nil {
			out.Left = append(out.Left, raft.Server{ID: s.ID, Address: s.Address, Suffrage: raft.Voter})
		}
	}
	var gone []string
	for _, s := range out.Members {
		if !slices.Contains(keep, string(s.ID)) {
			gone = append(gone, string(s.ID))
		}
	}
	m := fsm.State().Map()
	out.Wait = m.Lease + m.Drift
	if r.DryRun {
		return nil
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = raft.ServerID(out.NodeID), hclog.NewNullLogger()
	_, transport := raft.NewInmemTransport("")
	after := recovering{FSM: r.NewFSM(), left: keep, gone: gone}
	if err := raft.RecoverCluster(c, after, d.Log(), storage.NewVoteStore(d.Log()), d.Snapshots(), transport, raft.Configuration{Servers: out.Left}); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrDataDir, err)
	}
	out.Epoch = after.Map().Epoch
	select {
	case <-time.After(out.Wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replay applies what the directory holds to the state machine. It writes nothing.
func (out *Recovered) replay(d *storage.Dir, fsm FSM) error {
	snapshots, log := d.Snapshots(), d.Log()
	list, err := snapshots.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if len(list) > 0 {
		meta, from, err := snapshots.Open(list[0].ID)
		if err != nil {
			return fmt.Errorf("open snapshot: %w", err)
		}
		if err := fsm.Restore(from); err != nil {
			return err
		}
		out.Index, out.Term, out.Members = meta.Index, meta.Term, meta.Configuration.Servers
	}
	if err := log.Verify(out.Index, out.Term); err != nil { // or the next start would refuse it
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	for index := out.Index + 1; index <= last; index++ {
		var l raft.Log
		if err := log.GetLog(index, &l); err != nil {
			return fmt.Errorf("read log at %d: %w", index, err)
		}
		switch l.Type {
		case raft.LogCommand:
			_ = fsm.Apply(&l) // its result is in the state
		case raft.LogConfiguration:
			out.Members = raft.DecodeConfiguration(l.Data).Servers
		}
		out.Index, out.Term = l.Index, l.Term
	}
	if out.Index == 0 || len(out.Members) == 0 {
		return storage.ErrEmpty
	}
	out.ClusterID, out.Epoch = fsm.ClusterID(), fsm.Map().Epoch
	return nil
}

// recovering is a state machine whose snapshots are those of the recovered cluster.
type recovering struct {
	FSM
	left, gone []string
}

// Snapshot implements raft.FSM.
func (r recovering) Snapshot() (raft.FSMSnapshot, error) {
	r.State().Recover(r.left, r.gone)
	return r.FSM.Snapshot()
}
