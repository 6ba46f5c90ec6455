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

// The limits of a connection.
const (
	maxHeader    = 16 << 10         // bytes
	readTimeout  = 10 * time.Second // for a whole request, from its first byte
	writeTimeout = 30 * time.Second // for an answer
	idleTimeout  = 60 * time.Second // between two requests
)

// Server is the HTTP server of one node. Its methods may be called concurrently.
type Server struct {
	cfg   Config
	log   *slog.Logger
	http  *fasthttp.Server
	calls sync.Pool // of *call
	busy  atomic.Int64

	backups chan struct{} // one element per backup in progress
}

// New returns a server. It returns an error if a required field of the config is
// missing. Serve starts the server.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
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
		HeaderReceived:     s.headerReceived,
		ErrorHandler:       s.readFailed,
		ReadBufferSize:     maxHeader,
		MaxRequestBodySize: wire.MaxBody,
		// Never reached: the listener refuses connections first, with an answer.
		Concurrency:     s.cfg.MaxConns + 1,
		ReadTimeout:     readTimeout,
		WriteTimeout:    writeTimeout,
		IdleTimeout:     idleTimeout,
		CloseOnShutdown: true,
		// The API treats every body as JSON, regardless of Content-Type.
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		Logger:                       debugLogger{s.log},
	}
	return s, nil
}

// Handler returns the handler of all requests.
func (s *Server) Handler() fasthttp.RequestHandler { return s.handle }

// Serve answers requests on the listener until Shutdown, after which it returns nil.
func (s *Server) Serve(l net.Listener) error {
	bounded := newListener(l, s.cfg.MaxConns, s.tooManyConns)
	defer bounded.wait()
	if err := s.http.Serve(bounded); err != nil {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

// Shutdown closes the listener and waits until all requests in progress are answered
// or ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.ShutdownWithContext(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("shut down http: %w", err)
	}
	return nil
}

// readFailed answers a request that fasthttp could not read. fasthttp closes the
// connection afterwards.
func (s *Server) readFailed(ctx *fasthttp.RequestCtx, err error) {
	if answerPlainHTTP(err) {
		return
	}
	p := wire.Problem{Status: 400, Code: wire.InvalidRequest, Detail: "the request is not valid HTTP"}
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

// answerPlainHTTP reports whether err means that a client sent plain HTTP to the TLS
// port. It then answers on the raw connection, because there is no TLS connection.
func answerPlainHTTP(err error) bool {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil || !httpMethod.Match(record.RecordHeader[:]) {
		return false
	}
	p := wire.Problem{Status: 400, Code: wire.InvalidRequest, Detail: "this port speaks HTTPS"}
	body := p.Append(nil)
	// Ignore the error: the client may have disconnected.
	_, _ = fmt.Fprintf(record.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: %s\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n%s",
		wire.TypeProblem, len(body), body)
	return true
}

// httpMethod matches the start of an HTTP request.
var httpMethod = regexp.MustCompile(`^[A-Z]{3,5}`)

// debugLogger logs the messages of fasthttp at debug level: they are about clients
// that misbehave.
type debugLogger struct{ log *slog.Logger }

func (l debugLogger) Printf(format string, args ...any) {
	l.log.Debug("http connection", "msg", fmt.Sprintf(format, args...))
}
