package rest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// The limits of backups and restores.
const (
	maxBackups  = 2                // at the same time; each keeps a whole state in memory
	backupTime  = 15 * time.Minute // for sending a backup
	restoreRead = 30 * time.Second // without a byte of the body
	restoreBody = 15 * time.Minute // for the whole body
)

const (
	backupPath  = "/v1/backup"
	restorePath = "/v1/restore"
)

// smallBody is the maximum size, in bytes, of a body that is read before the caller is
// authenticated.
const smallBody = 64 << 10

// bodyLength is an internal request header in which headerReceived stores the length of
// a body that fasthttp must not read. -1 means a chunked body.
const bodyLength = "X-Quorate-Body-Length"

// headerReceived decides how fasthttp reads the body, before fasthttp reads it. It
// leaves two kinds of bodies unread: the body of a restore, which may have gigabytes
// and which the handler reads from the connection itself, and a large body from a
// caller without a valid token, which would let any client use up memory.
func (s *Server) headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	switch string(h.RequestURI()) {
	case backupPath, backupPath + "?consistency=strong":
		return fasthttp.RequestConfig{WriteTimeout: backupTime}
	case restorePath, restorePath + "?dry_run=true":
		if h.IsPost() {
			h.Set(bodyLength, strconv.Itoa(h.ContentLength()))
			h.SetContentLength(0)
			h.SetConnectionClose() // the body may remain unread
		}
	}
	if n := h.ContentLength(); n > smallBody || n == -1 {
		if _, ok := s.cfg.Access.Authenticate(tokenOf(h)); !ok {
			h.Set(bodyLength, strconv.Itoa(n))
			h.SetContentLength(0)
			h.SetConnectionClose()
		}
	}
	return fasthttp.RequestConfig{}
}

// backup streams the current state.
func (s *Server) backup(ctx *fasthttp.RequestCtx, _ ids) error {
	if ctx.IsHead() {
		ctx.Response.Header.SetContentType(wire.TypeBackup)
		return nil
	}
	select {
	case s.backups <- struct{}{}:
	default:
		return fmt.Errorf("%d backups are under way: %w", maxBackups, ledger.ErrOverloaded)
	}
	frozen := s.cfg.Archive.Freeze()
	s.header(ctx, frozen.Index)
	ctx.Response.Header.SetContentType(wire.TypeBackup)
	ctx.Response.Header.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="quorate-%d.backup"`, frozen.Index))
	r, w := io.Pipe()
	go func() { // ends when fasthttp closes the pipe
		_, err := frozen.WriteBackup(w)
		_ = w.CloseWithError(err) // never fails
		<-s.backups
	}()
	ctx.Response.SetBodyStream(r, -1)
	return nil
}

// restore restores a backup, or with dry_run only verifies it and shows its content.
func (s *Server) restore(ctx *fasthttp.RequestCtx, _ ids) error {
	dry := false
	switch v := string(ctx.QueryArgs().Peek("dry_run")); v {
	case "", "false":
	case "true":
		dry = true
	default:
		return &wire.FieldError{Field: "dry_run", Detail: "want true or false"}
	}
	who := callerName(ctx)
	length, err := strconv.Atoi(string(ctx.Request.Header.Peek(bodyLength)))
	if err != nil { // fasthttp has read the body, because it is small
		status, index, body := s.runRestore(bytes.NewReader(ctx.Request.Body()), dry, who)
		s.header(ctx, index)
		reply(ctx, status, contentTypeOf(status), body)
		return nil
	}
	if length > ledger.MaxBackup {
		return newProblem(413, wire.TooLarge, "", fmt.Sprintf("the backup is larger than %d bytes", ledger.MaxBackup))
	}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { s.restoreFrom(c, length, dry, who) })
	return nil
}

// restoreFrom reads a backup from a connection and answers on it. length is -1 for a
// chunked body.
func (s *Server) restoreFrom(c net.Conn, length int, dry bool, who string) {
	var in io.Reader = slowReader{c, time.Now().Add(restoreBody)}
	switch {
	case length == -1:
		in = httputil.NewChunkedReader(bufio.NewReader(in))
	case length < 0:
		in = io.LimitReader(in, 0)
	default:
		in = io.LimitReader(in, int64(length))
	}
	status, index, body := s.runRestore(in, dry, who)
	var answer fasthttp.Response
	answer.SetStatusCode(status)
	answer.Header.SetContentType(contentTypeOf(status))
	answer.Header.SetCanonical(nameCacheControl, noStore)
	answer.Header.SetCanonical(nameIndex, strconv.AppendUint(nil, index, 10))
	answer.SetConnectionClose()
	answer.SetBodyRaw(body)
	out := bufio.NewWriter(c)
	if c.SetWriteDeadline(time.Now().Add(writeTimeout)) == nil && answer.Write(out) == nil && out.Flush() == nil {
		// Read the rest of a refused body; otherwise the client loses the answer (see
		// conn).
		if c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			_, _ = io.CopyN(io.Discard, c, lingerBytes)
		}
	}
}

// slowReader is a connection with a deadline for each read, restoreRead, and one for
// all of them.
type slowReader struct {
	net.Conn
	end time.Time // deadline of the last read
}

func (r slowReader) Read(b []byte) (int, error) {
	next := time.Now().Add(restoreRead)
	if r.end.Before(next) {
		next = r.end
	}
	if err := r.SetReadDeadline(next); err != nil {
		return 0, err
	}
	return r.Conn.Read(b)
}

func contentTypeOf(status int) string {
	if status == 200 {
		return wire.TypeJSON
	}
	return wire.TypeProblem
}

// runRestore restores the backup and returns the answer; who is for the audit.
func (s *Server) runRestore(in io.Reader, dry bool, who string) (status int, index uint64, body []byte) {
	found, index, err := s.cfg.Archive.Restore(context.Background(), in, dry, who)
	if err == nil {
		body, err = json.Marshal(wire.Restored{
			Restored: !dry, Index: index, ReachesIndex: found.Index, TakenAt: time.UnixMilli(found.Time).UTC().Format(time.RFC3339Nano),
			ClusterID: found.ClusterID, PolicyRevision: found.Revision, Accounts: found.Accounts, Keys: found.Keys, Content: found.Content,
		})
	}
	if err == nil {
		return 200, max(index, s.cfg.View.Index()), body
	}
	p := problemOf(err)
	switch {
	case errors.Is(err, ledger.ErrRestoring):
		p = wire.Problem{Status: 409, Code: wire.Restoring, Detail: "another restore is in progress; nothing was changed"}
	case errors.Is(err, ledger.ErrBadBackup):
		p.Detail = err.Error() + "; nothing was changed"
	case p.Code == wire.Internal:
		s.log.Error("restore failed", "err", err)
	}
	return p.Status, s.cfg.View.Index(), p.Append(nil)
}
