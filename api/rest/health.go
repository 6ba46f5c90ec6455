package rest

import (
	"strings"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
)

// livez reports that this process answers. It ignores the state of other nodes, which
// a restart of this process would not repair.
func (s *Server) livez(ctx *fasthttp.RequestCtx, _ ids) error {
	reply(ctx, 200, wire.TypeText, []byte("ok\n"))
	return nil
}

// readyz reports whether clients should send requests to this node.
func (s *Server) readyz(ctx *fasthttp.RequestCtx, _ ids) error {
	var lines []byte
	var failed []string
	for _, p := range s.cfg.Operator.Ready() {
		if p.OK {
			lines = append(append(append(lines, "[+]"...), p.Name...), " ok\n"...)
			continue
		}
		lines = append(append(append(lines, "[-]"...), p.Name...), " failed\n"...)
		if p.Fatal {
			failed = append(failed, p.Name)
		}
	}
	status := 200
	if len(failed) > 0 {
		status = 503
	}
	switch {
	case ctx.QueryArgs().Has("verbose"):
		reply(ctx, status, wire.TypeText, lines)
	case status == 200:
		reply(ctx, status, wire.TypeText, []byte("ok\n"))
	default:
		return newProblem(status, wire.Unavailable, "", "not ready: "+strings.Join(failed, ", "))
	}
	return nil
}
