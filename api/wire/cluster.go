package wire

import (
	"encoding/json"
	"strings"

	"quorate/fsm/ledger"
)

// ClusterStatus is the body of GET /v1/cluster.
type ClusterStatus struct {
	ClusterID        string       `json:"cluster_id"`
	Leader           *string      `json:"leader"`
	Term             uint64       `json:"term"`
	Epoch            uint64       `json:"epoch"`
	Unowned          int          `json:"unowned"`               // partitions without an owner, while the lease of a lost owner expires
	Moving           int          `json:"moving"`                // partitions that are being moved
	ChangingGrantors bool         `json:"settling"`              // the nodes that grant leases are changing: stopping one of the former nodes now is unsafe
	Time             *string      `json:"time"`                  // the log's time, RFC 3339; nil until a command is applied
	KeysSince        *string      `json:"keys_remembered_since"` // RFC 3339; nil until a command is applied
	Settings         Settings     `json:"settings"`              // that the log has
	Nodes            []NodeStatus `json:"nodes"`
	AnsweredByNode   string       `json:"node"`
	Security         Guards       `json:"security"` // of the node that answered

	Raw json.RawMessage `json:"-"` // the body as received
}

// Settings are the settings of the whole cluster that are in force.
type Settings struct {
	KeyMemory        string `json:"key_memory"` // a duration, such as 168h
	KeyMemoryEntries int64  `json:"key_memory_entries"`
}

// Guards describes how a node authenticates clients and other nodes.
type Guards struct {
	TLS        bool `json:"tls"`
	GossipKey  bool `json:"gossip_key"`
	AdminToken bool `json:"admin_token"`
	Insecure   bool `json:"insecure"` // the node may run without the others
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
	Epoch        uint64 `json:"epoch"`      // of the ownership map that the node has applied
	Leases       uint64 `json:"leases"`     // partitions for which the node holds a lease
	Incomplete   uint64 `json:"incomplete"` // partitions of the node whose replicas are incomplete
}

// Removed, Transferred and Drained are the answers to the commands of an operator.
type (
	Removed struct {
		Removed string `json:"removed"` // id of the node; it can never be used again
	}
	Transferred struct {
		Leader string `json:"leader"`
	}
	Drained struct {
		Drained bool   `json:"drained"`
		Node    string `json:"node"`
	}
)

// TransferRequest is the body of POST /v1/cluster/transfer-leadership.
type TransferRequest struct {
	To string `json:"to,omitempty"` // empty: any voter that can lead
}

// ParseTransfer reads the scanner's whole document and returns the id of the node
// in it, empty if there is none. The error is a *FieldError.
func ParseTransfer(s *Scanner) (to string, err error) {
	var seen Fields
	for s.Object(); ; {
		name, ok := s.Key()
		if !ok {
			break
		}
		if name != "to" {
			s.Unknown(name)
		} else if s.Field(&seen, 0, "to") {
			to = strings.Clone(s.Text())
		}
	}
	s.End()
	if s.err == nil && to != "" && !ledger.ValidAccount(to) {
		s.failField("to", "want the id of a node, as in /v1/cluster")
	}
	return to, s.err
}
