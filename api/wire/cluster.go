package wire

import (
	"encoding/json"
	"strings"

	"quorate/fsm/ledger"
)

// ClusterStatus is the body of GET /v1/cluster.
type ClusterStatus struct {
	ClusterID      string       `json:"cluster_id"`
	Leader         *string      `json:"leader"`
	Term           uint64       `json:"term"`
	Epoch          uint64       `json:"epoch"`
	Unowned        int          `json:"unowned"`               // partitions that nobody owns while a lost owner's lease runs out
	Moving         int          `json:"moving"`                // partitions that are being handed over
	Settling       bool         `json:"settling"`              // the nodes that grant leases change: none of the former ones may be stopped yet
	KeysSince      *string      `json:"keys_remembered_since"` // RFC 3339; null while no command was applied
	Nodes          []NodeStatus `json:"nodes"`
	AnsweredByNode string       `json:"node"`
	Security       Guards       `json:"security"` // of the node that answers

	Raw json.RawMessage `json:"-"` // the body as it came to a client
}

// Guards says what keeps strangers out of a node.
type Guards struct {
	TLS        bool `json:"tls"`
	GossipKey  bool `json:"gossip_key"`
	AdminToken bool `json:"admin_token"`
	Insecure   bool `json:"insecure"` // it was allowed to go without
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

// Removed, Transferred and Drained are the answers to an operator's orders.
type (
	Removed struct {
		Removed string `json:"removed"` // the node's id, which can never come back
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
	To string `json:"to,omitempty"` // empty: any
}

// ParseTransfer reads the whole document of the scanner and returns the node
// that it names, which may be none.
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
		s.failField("to", "want a node's id, as /v1/cluster shows it")
	}
	return to, s.err
}
