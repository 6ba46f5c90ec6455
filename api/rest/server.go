package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
)

// The bounds of a connection.
const (
	maxHeader    = 16 << 10
	readTimeout  = 10 * time.Second // a whole request, from its first byte
	writeTimeout = 30 * time.Second // an answer, to a client that reads slowly
	idleTimeout  = 60 * time.Second // between two requests
)

// Server is the HTTP server of one node. Its methods may overlap.
type Server struct {
	cfg   Config
	log   *slog.Logger
	http  *fasthttp.Server
	calls sync.Pool // of *call
	busy  atomic.Int64

	backups chan struct{} // one for each under way
}

// New returns a server that does not listen yet. The config must validate.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Logger, backups: make(chan struct{}, maxBackups)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.MaxConns == 0 {
		s.cfg.MaxConns = DefaultMaxConns
	}
	if s.cfg.MaxRequests == 0 {
		s.cfg.MaxRequests = DefaultMaxRequests
	}
	s.calls.New = func() any { return new(call) }
	s.http = &fasthttp.Server{
		Handler:            s.handle,
		HeaderReceived:     s.received,
		ErrorHandler:       s.broken,
		ReadBufferSize:     maxHeader,
		MaxRequestBodySize: wire.MaxBody,
		// Never reached: the listener refuses first, and says why.
		Concurrency:     s.cfg.MaxConns + 1,
		ReadTimeout:     readTimeout,
		WriteTimeout:    writeTimeout,
		IdleTimeout:     idleTimeout,
		CloseOnShutdown: true,
		// A body is JSON whatever its Content-Type says.
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		Logger:                       printer{s.log},
	}
	return s
}

// Handler returns what answers requests.
func (s *Server) Handler() fasthttp.RequestHandler { return s.handle }

// Serve answers requests of the listener until Shutdown; then it returns nil.
func (s *Server) Serve(l net.Listener) error {
	bounded := newListener(l, s.cfg.MaxConns, s.tooMany)
	defer bounded.wait()
	if err := s.http.Serve(bounded); err != nil {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

// Shutdown closes the listeners, lets the requests under way finish and waits
// for them until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.ShutdownWithContext(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("shut down http: %w", err)
	}
	return nil
}

// broken answers a request that could not be read. The connection is closed
// after it.
func (s *Server) broken(ctx *fasthttp.RequestCtx, err error) {
	if plainToTLS(err) {
		return
	}
	p := wire.Problem{Status: 400, Code: wire.InvalidRequest, Detail: "the request is not HTTP that this server reads"}
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		p = wire.Problem{Status: 413, Code: wire.TooLarge, Detail: fmt.Sprintf("the body is larger than %d bytes", wire.MaxBody)}
	case errors.As(err, &small):
		p = wire.Problem{Status: 431, Code: wire.TooLarge, Detail: fmt.Sprintf("the header is larger than %d bytes", maxHeader)}
	case errors.As(err, &timeout) && timeout.Timeout():
		p = wire.Problem{Status: 408, Code: wire.InvalidRequest, Detail: "the request did not arrive in time"}
	}
	s.common(ctx)
	reply(ctx, p.Status, wire.TypeProblem, p.Append(nil))
	if c, ok := ctx.Conn().(*conn); ok && p.Code == wire.TooLarge {
		c.linger.Store(true)
	}
}

// plainToTLS answers who speaks HTTP to a port that speaks HTTPS, beside the
// connection that could not be made of it.
func plainToTLS(err error) bool {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil || !httpMethod.Match(record.RecordHeader[:]) {
		return false
	}
	p := wire.Problem{Status: 400, Code: wire.InvalidRequest, Detail: "this port speaks HTTPS"}
	body := p.Append(nil)
	// The client may be gone.
	_, _ = fmt.Fprintf(record.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: %s\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n%s",
		wire.TypeProblem, len(body), body)
	return true
}

// httpMethod is how a request begins.
var httpMethod = regexp.MustCompile(`^[A-Z]{3,5}`)

// printer takes what fasthttp logs, which is about clients that misbehave.
type printer struct{ log *slog.Logger }

func (p printer) Printf(format string, args ...any) {
	p.log.Debug("http connection", "msg", fmt.Sprintf(format, args...))
}
