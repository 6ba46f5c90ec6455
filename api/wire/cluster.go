package wire

import "encoding/json"

// ClusterStatus is the body of GET /v1/cluster.
type ClusterStatus struct {
	ClusterID      string       `json:"cluster_id"`
	Leader         *string      `json:"leader"`
	Term           uint64       `json:"term"`
	Epoch          uint64       `json:"epoch"`
	Unowned        int          `json:"unowned"`               // partitions that nobody owns while a lost owner's lease runs out
	Moving         int          `json:"moving"`                // partitions that are being handed over
	KeysSince      *string      `json:"keys_remembered_since"` // RFC 3339; null while no command was applied
	Nodes          []NodeStatus `json:"nodes"`
	AnsweredByNode string       `json:"node"`

	Raw json.RawMessage `json:"-"` // the body as it came to a client
}

// NodeStatus is one node of the cluster.
type NodeStatus struct {
	ID           string `json:"id"`
	HTTP         string `json:"http"`
	Peer         string `json:"peer"`
	Gossip       string `json:"gossip"`
	State        string `json:"state"` // alive, suspect, left or dead
	Voter        bool   `json:"voter"`
	AppliedIndex uint64 `json:"applied_index"`
	Version      string `json:"version"`
	Partitions   int    `json:"partitions"`
	Epoch        uint64 `json:"epoch"`      // of the map that it has applied
	Leases       uint64 `json:"leases"`     // partitions that it holds a lease on
	Incomplete   uint64 `json:"incomplete"` // of its partitions, those without whole copies at their successors
}
