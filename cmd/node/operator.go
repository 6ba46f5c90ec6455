package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"quorate/api/rest"
	"quorate/cluster"
	"quorate/fsm"
)

// operator implements rest.Operator.
type operator struct {
	id      string
	cluster *cluster.Node
	machine *fsm.Machine
	guards  rest.Guards
}

// guards returns which security settings this node has.
func guards(cfg *Config) rest.Guards {
	return rest.Guards{
		TLS:        cfg.TLSCert != "",
		GossipKey:  cfg.GossipKeyFile != "" || cfg.GossipKey != "",
		AdminToken: cfg.AdminTokenFile != "" || cfg.AdminToken != "",
		Insecure:   cfg.Insecure,
	}
}

// Cluster implements rest.Operator.
func (o operator) Cluster() rest.ClusterStatus {
	s, m := o.cluster.Status(), o.machine.Map()
	out := rest.ClusterStatus{
		ClusterID: o.machine.ClusterID(), Term: s.Term, Epoch: m.Epoch, AnsweredByNode: o.id, Security: o.guards,
		Nodes: make([]rest.NodeStatus, 0, len(s.Nodes)),
	}
	if s.Leader != "" {
		out.Leader = &s.Leader
	}
	out.Time, out.KeysSince = rfc3339(o.machine.LogTime()), rfc3339(o.machine.KeysSince())
	settings := o.machine.State().Settings()
	out.Settings = rest.Settings{KeyMemory: Span(settings.KeyMemory()).String(), KeyMemoryEntries: settings.KeyMemoryEntries()}
	out.Unowned, out.Moving = m.InTransition()
	out.ChangingGrantors = m.Epoch > 0 && (len(m.Retiring) > 0 || !slices.Equal(m.Grantors, s.Voters()))
	owned := m.Owned()
	for _, k := range s.Nodes {
		out.Nodes = append(out.Nodes, rest.NodeStatus{
			ID: k.ID, HTTP: k.HTTP, Peer: k.Peer, Gossip: k.Gossip, State: k.State, Voter: k.Voter,
			AppliedIndex: k.AppliedIndex, Version: k.Version, Partitions: owned[k.ID],
			Epoch: k.Epoch, Leases: k.Leases, Incomplete: k.Incomplete,
		})
	}
	return out
}

// rfc3339 formats milliseconds since 1970. It returns nil for 0.
func rfc3339(ms int64) *string {
	if ms == 0 {
		return nil
	}
	text := time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
	return &text
}

// Ready implements rest.Operator. A node without a leader is ready: it still answers
// checks.
func (o operator) Ready() []rest.Probe {
	return []rest.Probe{
		{Name: "raft", OK: o.cluster.Ready(), Fatal: true},
		{Name: "ownership", OK: o.machine.Map().Epoch > 0, Fatal: true},
		{Name: "restoring", OK: !o.restoring(), Fatal: true},
		{Name: "draining", OK: !o.cluster.Leaving(), Fatal: true},
		{Name: "leader", OK: o.cluster.HasLeader()},
	}
}

// restoring reports whether any node runs a restore.
func (o operator) restoring() bool {
	under, _ := o.machine.State().Restoring(0)
	return under
}

// Remove implements rest.Operator.
func (o operator) Remove(ctx context.Context, id, by string) error {
	return apiError(o.cluster.Remove(ctx, cluster.Removal{ID: id, By: by}))
}

// Transfer implements rest.Operator.
func (o operator) Transfer(ctx context.Context, to string) (string, error) {
	leader, err := o.cluster.Transfer(ctx, to)
	return leader, apiError(err)
}

// Drain implements rest.Operator.
func (o operator) Drain(ctx context.Context) error {
	err := o.cluster.Drain(ctx)
	switch {
	case errors.Is(err, cluster.ErrAlone):
		o.cluster.Undrain()
		return rest.ErrLastNode
	case err != nil:
		return fmt.Errorf("%w: %w", rest.ErrDraining, err)
	}
	return nil
}

// apiErrors maps the errors of the cluster to those of the API. If an error wraps
// several of them, the first applies.
var apiErrors = []struct{ cluster, api error }{
	{cluster.ErrUnknownNode, rest.ErrUnknownNode},
	{cluster.ErrLastVoter, rest.ErrLastNode},
	{cluster.ErrQuorumLoss, rest.ErrQuorumLoss},
	{cluster.ErrUnfit, rest.ErrUnfit},
	{cluster.ErrUnderWay, rest.ErrUnderWay},
}

// apiError wraps an error of the cluster in the API's error of the same meaning.
func apiError(err error) error {
	for _, e := range apiErrors {
		if errors.Is(err, e.cluster) {
			return fmt.Errorf("%w: %w", e.api, err)
		}
	}
	return err
}
