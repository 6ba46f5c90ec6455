package wire

import "encoding/json"

// Restored is the answer to POST /v1/restore.
type Restored struct {
	Restored       bool   `json:"restored"`      // false for a dry run
	Index          uint64 `json:"index"`         // log index of the restore; 0 for a dry run
	ReachesIndex   uint64 `json:"reaches_index"` // last log index in the backup, in the cluster that made it
	TakenAt        string `json:"taken_at"`      // RFC 3339, the log's time at that index
	ClusterID      string `json:"cluster_id"`    // of the cluster that made the backup
	PolicyRevision uint64 `json:"policy_revision"`
	Accounts       uint64 `json:"accounts"`
	Keys           uint64 `json:"keys"`
	Content        string `json:"content"` // hash of the content, equal for equal content

	Raw json.RawMessage `json:"-"` // the body as received
}
