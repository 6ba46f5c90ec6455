package storage

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// keyClusterID is the key of the cluster's id. It is stored beside the log, so that
// both can only be lost together.
var keyClusterID = []byte("quorate-cluster")

// Identity is the cluster that a data directory belongs to. It is written before Raft
// writes anything: if the cluster knows a node whose directory has no identity, that
// node has lost what it once acknowledged. Its methods may be called concurrently.
type Identity struct {
	store raft.StableStore

	mu      sync.Mutex
	cluster string // empty: none yet; guarded by mu
	legacy  bool   // guarded by mu
}

// Identity reads the directory's identity. Its errors wrap ErrDataDir.
func (d *Dir) Identity() (*Identity, error) {
	existing, err := raft.HasExistingState(d.bolt, d.bolt, d.snapshots)
	if err != nil {
		return nil, fmt.Errorf("%w: read log: %w", ErrDataDir, err)
	}
	i, err := ReadIdentity(d.bolt, existing)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	return i, nil
}

// ReadIdentity reads an identity from a stable store. existing reports whether there
// is Raft state beside it.
func ReadIdentity(store raft.StableStore, existing bool) (*Identity, error) {
	b, err := store.Get(keyClusterID)
	if err != nil && !isNotFound(err) {
		return nil, fmt.Errorf("read the cluster id: %w", err)
	}
	return &Identity{store: store, cluster: string(b), legacy: existing && len(b) == 0}, nil
}

// ClusterID returns the id of the cluster, empty if the directory belongs to none.
func (i *Identity) ClusterID() string {
	id, _ := i.Get()
	return id
}

// Get returns the id of the cluster, and whether the directory is a legacy one: it
// has Raft state from a version that did not store the id.
func (i *Identity) Get() (clusterID string, legacy bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cluster, i.legacy
}

// SetClusterID makes the directory belong to the cluster, durably.
func (i *Identity) SetClusterID(id string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cluster == id {
		return nil
	}
	if err := i.store.Set(keyClusterID, []byte(id)); err != nil {
		return fmt.Errorf("store the cluster id: %w", err)
	}
	i.cluster, i.legacy = id, false
	return nil
}
