package rest

import (
	_ "embed"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
)

//go:embed openapi.yaml
var openAPI []byte

// openAPI answers with the OpenAPI description of the API.
func (s *Server) openAPI(ctx *fasthttp.RequestCtx, _ ids) error {
	reply(ctx, 200, wire.TypeYAML, openAPI)
	return nil
}
