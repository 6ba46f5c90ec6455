package rest

import (
	"encoding/json"
	"fmt"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

func (s *Server) getPolicy(ctx *fasthttp.RequestCtx, _ string) error {
	t := s.cfg.View.Table()
	switch format := string(ctx.QueryArgs().Peek("format")); format {
	case "yaml":
		reply(ctx, 200, wire.TypeYAML, t.Doc)
	case "", "json":
		body, err := json.Marshal(struct {
			Revision uint64         `json:"revision"`
			Policy   *ledger.Policy `json:"policy"`
		}{t.Revision, t.Policy})
		if err != nil {
			return fmt.Errorf("marshal policy: %w", err)
		}
		reply(ctx, 200, wire.TypeJSON, body)
	default:
		return &wire.FieldError{Field: "format", Detail: "want json or yaml"}
	}
	ctx.Response.Header.SetCanonical(nameETag, quoted(t.Revision, 10))
	return nil
}
