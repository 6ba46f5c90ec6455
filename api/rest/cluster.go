package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

func (s *Server) getCluster(ctx *fasthttp.RequestCtx, _ ids) error {
	status := s.cfg.Operator.Cluster()
	if status.Nodes == nil {
		status.Nodes = []NodeStatus{} // a list in JSON, never null
	}
	body, err := json.Marshal(status)
	if err != nil {
		return fmt.Errorf("marshal cluster: %w", err)
	}
	reply(ctx, 200, wire.TypeJSON, body)
	return nil
}

// The timeouts of an operator's commands. After a timeout the answer says that the
// command is in progress.
const (
	removeTime   = 20 * time.Second // the node hands over its partitions first
	transferTime = 5 * time.Second
	drainTime    = 10 * time.Second
)

// removeNode permanently removes a node from the cluster.
func (s *Server) removeNode(ctx *fasthttp.RequestCtx, ids ids) error {
	id, err := url.PathUnescape(ids[0])
	if err != nil || !ledger.ValidAccount(id) || len(id) > ledger.MaxNodeID {
		return &wire.FieldError{Field: "id", Detail: "want the id of a node, as in /v1/cluster"}
	}
	limited, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	if err := s.cfg.Operator.Remove(limited, id, callerName(ctx)); err != nil {
		return err
	}
	return s.done(ctx, wire.Removed{Removed: id})
}

// transferLeadership transfers leadership to the node in the body, or to any node.
func (s *Server) transferLeadership(ctx *fasthttp.RequestCtx, _ ids) error {
	to := ""
	if len(ctx.Request.Body()) > 0 {
		var sc wire.Scanner
		sc.Reset(ctx.Request.Body())
		var err error
		if to, err = wire.ParseTransfer(&sc); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(context.Background(), transferTime)
	defer cancel()
	leader, err := s.cfg.Operator.Transfer(limited, to)
	if err != nil {
		return err
	}
	return s.done(ctx, wire.Transferred{Leader: leader})
}

// drain hands over all partitions of this node, which owns none until it restarts.
func (s *Server) drain(ctx *fasthttp.RequestCtx, _ ids) error {
	limited, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := s.cfg.Operator.Drain(limited); err != nil {
		return err
	}
	return s.done(ctx, wire.Drained{Drained: true, Node: s.cfg.NodeID})
}

// done answers with v as JSON.
func (s *Server) done(ctx *fasthttp.RequestCtx, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("marshal answer: %w", err)
	}
	s.common(ctx)
	reply(ctx, 200, wire.TypeJSON, body)
	return nil
}
