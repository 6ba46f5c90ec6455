package wire

import "encoding/json"

// Restored is the answer to POST /v1/restore.
type Restored struct {
	Restored       bool   `json:"restored"`      // false: only looked at
	Index          uint64 `json:"index"`         // of the log, of the change; 0 when only looked at
	ReachesIndex   uint64 `json:"reaches_index"` // of the log of the cluster that it was made of: what is in it ends there
	TakenAt        string `json:"taken_at"`      // RFC 3339, by that log
	ClusterID      string `json:"cluster_id"`    // of that cluster
	PolicyRevision uint64 `json:"policy_revision"`
	Accounts       uint64 `json:"accounts"`
	Keys           uint64 `json:"keys"`
	Content        string `json:"content"` // a hash of what it holds, equal for equal content

	Raw json.RawMessage `json:"-"` // the body as it came to a client
}
