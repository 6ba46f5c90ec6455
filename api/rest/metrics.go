package rest

import (
	"fmt"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
)

func (s *Server) metrics(ctx *fasthttp.RequestCtx, _ ids) error {
	ctx.Response.Header.SetContentType(wire.TypeMetrics)
	if err := s.cfg.Metrics.Write(ctx.Response.BodyWriter()); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}
