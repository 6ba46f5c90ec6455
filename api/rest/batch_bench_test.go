package rest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"quorate/limiter/bucket"
)

// BenchmarkBatch decides 100 checks of 100 accounts in one request. Like BenchmarkCheck it
// uses no connection.
func BenchmarkBatch(b *testing.B) {
	s, _ := newServer(b)
	d := decision(bucket.OK)
	s.cfg.Checker, s.cfg.Metrics = fixed{d: &d}, uncounted{s.cfg.Metrics}
	items := make([]string, 100)
	for i := range items {
		items[i] = strings.Replace(aCheck, "acme", fmt.Sprint("a", i), 1)
	}
	ctx := &fasthttp.RequestCtx{}
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetRequestURI("/v1/check/batch")
	ctx.Request.SetBodyString(`{"checks":[` + strings.Join(items, ",") + `]}`)
	b.ReportAllocs()
	for b.Loop() {
		s.handle(ctx)
		ctx.Response.Reset()
	}
	b.ReportMetric(float64(b.N*len(items))/b.Elapsed().Seconds(), "checks/s")
}
