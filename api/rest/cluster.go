package rest

import (
	"encoding/json"
	"fmt"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
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
