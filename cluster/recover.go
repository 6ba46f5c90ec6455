package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// ErrNothingHere is a data directory that holds no member of a cluster.
var ErrNothingHere = errors.New("there is no node's data in it")

// Recovery is how a cluster goes on that has lost its majority for good.
type Recovery struct {
	DataDir string
	With    []string   // ids of other nodes that are left, and recovered alike
	NewFSM  func() FSM // each empty
	DryRun  bool       // only look
}

// Recovered says what a data directory holds, and who will be in the cluster.
type Recovered struct {
	NodeID    string
	ClusterID string
	Index     uint64 // last of the log; the node to recover from is the one with the highest term, then index
	Term      uint64
	Epoch     uint64 // of the ownership map; of the next one when recovered
	Members   []raft.Server
	Left      []raft.Server // of them, those that stay
	Wait      time.Duration // a lease's length: how long recovering waits
}

// Recover makes this node, and those that it names, all there is of the cluster.
// What the log holds is kept, whether it was committed or not. The epoch jumps
// and nobody owns anything, so that no lease of before is good beside a later
// one; the nodes that are gone count as removed, so that their data cannot come
// back. It waits until no lease can be left that this node had a part in. The
// node must not run. Its error wraps ErrDataDir, ErrNothingHere or
// ErrUnknownNode.
func Recover(ctx context.Context, r Recovery) (Recovered, error) {
	id, err := os.ReadFile(filepath.Join(r.DataDir, "node-id"))
	if errors.Is(err, os.ErrNotExist) {
		return Recovered{}, fmt.Errorf("%w: %s: %w", ErrDataDir, r.DataDir, ErrNothingHere)
	}
	if err != nil {
		return Recovered{}, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	out := Recovered{NodeID: strings.TrimSpace(string(id))}
	d, err := openDisk(r.DataDir, out.NodeID)
	if err != nil {
		return out, err
	}
	err = r.run(ctx, d, &out)
	return out, errors.Join(err, d.log.Close())
}

func (r Recovery) run(ctx context.Context, d *disk, out *Recovered) error {
	logger := hclog.New(&hclog.LoggerOptions{Output: io.Discard})
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(r.DataDir, 2, logger)
	if err != nil {
		return fmt.Errorf("%w: open snapshots: %w", ErrDataDir, err)
	}
	fsm := r.NewFSM()
	if err := out.look(d, snapshots, fsm); err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
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
	c.LocalID, c.Logger = raft.ServerID(out.NodeID), logger
	_, transport := raft.NewInmemTransport("")
	after := recovering{FSM: r.NewFSM(), left: keep, gone: gone}
	if err := raft.RecoverCluster(c, after, sealed{d.log}, &voteStore{StableStore: d.log}, snapshots, transport, raft.Configuration{Servers: out.Left}); err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	out.Epoch = after.Map().Epoch
	select {
	case <-time.After(out.Wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look replays what the directory holds and changes nothing.
func (out *Recovered) look(d *disk, snapshots raft.SnapshotStore, fsm FSM) error {
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
	if err := (sealed{d.log}).check(out.Index, out.Term); err != nil { // or the start would refuse it afterwards
		return err
	}
	last, err := d.log.LastIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	for index := out.Index + 1; index <= last; index++ {
		var l raft.Log
		if err := (sealed{d.log}).GetLog(index, &l); err != nil {
			return fmt.Errorf("read log at %d: %w", index, err)
		}
		switch l.Type {
		case raft.LogCommand:
			_ = fsm.Apply(&l) // what became of it is in the state
		case raft.LogConfiguration:
			out.Members = raft.DecodeConfiguration(l.Data).Servers
		}
		out.Index, out.Term = l.Index, l.Term
	}
	if out.Index == 0 || len(out.Members) == 0 {
		return ErrNothingHere
	}
	out.ClusterID, out.Epoch = fsm.ClusterID(), fsm.Map().Epoch
	return nil
}

// recovering is a state machine whose snapshot is of the recovered cluster.
type recovering struct {
	FSM
	left, gone []string
}

// Snapshot is raft.FSM.
func (r recovering) Snapshot() (raft.FSMSnapshot, error) {
	r.State().Recover(r.left, r.gone)
	return r.FSM.Snapshot()
}
