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

// How long an operator's order may take; then its answer says how far it is.
const (
	removeTime   = 20 * time.Second // a node hands over first what it owns
	transferTime = 5 * time.Second
	drainTime    = 10 * time.Second
)

// removeNode takes a node out of the cluster for good.
func (s *Server) removeNode(ctx *fasthttp.RequestCtx, ids ids) error {
	id, err := url.PathUnescape(ids[0])
	if err != nil || !ledger.ValidAccount(id) || len(id) > ledger.MaxNodeID {
		return &wire.FieldError{Field: "id", Detail: "want a node's id, as /v1/cluster shows it"}
	}
	limited, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	if err := s.cfg.Operator.Remove(limited, id, by(ctx)); err != nil {
		return err
	}
	return s.done(ctx, wire.Removed{Removed: id})
}

// transferLeadership has another node lead, the one that the body names or any.
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

// drain hands what this node owns over to others; it takes nothing again in this
// life.
func (s *Server) drain(ctx *fasthttp.RequestCtx, _ ids) error {
	limited, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := s.cfg.Operator.Drain(limited); err != nil {
		return err
	}
	return s.done(ctx, wire.Drained{Drained: true, Node: s.cfg.NodeID})
}

// done answers with what was done.
func (s *Server) done(ctx *fasthttp.RequestCtx, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("marshal answer: %w", err)
	}
	s.common(ctx)
	reply(ctx, 200, wire.TypeJSON, body)
	return nil
}
