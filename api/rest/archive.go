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

// Bounds of backups and restores.
const (
	maxBackups  = 2                // streamed at once; each keeps a whole state in memory
	backupTime  = 15 * time.Minute // for a client to take one
	restoreRead = 30 * time.Second // without a byte of a body
	restoreBody = 15 * time.Minute // for all of it
)

const (
	backupPath  = "/v1/backup"
	restorePath = "/v1/restore"
)

// smallBody is how large a body may be, in bytes, that is read before it is known
// who sends it.
const smallBody = 64 << 10

// bodyLength is how a restore's handler learns of the length of the body that it
// is to read itself.
const bodyLength = "X-Quorate-Body-Length"

// received sets what a request may take once its header is read. A restore's
// body may be gigabytes: it is not read into memory before anybody has asked who
// sends it, but left on the connection, which its handler takes over.
//
// A large body is not read of somebody whom the token does not let in: it would be
// memory that anybody could take.
func (s *Server) received(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	switch string(h.RequestURI()) {
	case backupPath, backupPath + "?consistency=strong":
		return fasthttp.RequestConfig{WriteTimeout: backupTime}
	case restorePath, restorePath + "?dry_run=true":
		if h.IsPost() {
			h.Set(bodyLength, strconv.Itoa(h.ContentLength()))
			h.SetContentLength(0)
			h.SetConnectionClose() // whoever does not read the body leaves it there
		}
	}
	if n := h.ContentLength(); n > smallBody || n == -1 {
		if _, ok := s.cfg.Access.Who(tokenOf(h)); !ok {
			h.Set(bodyLength, strconv.Itoa(n))
			h.SetContentLength(0)
			h.SetConnectionClose()
		}
	}
	return fasthttp.RequestConfig{}
}

// backup streams the state as it stands.
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
	go func() { // ends with the pipe, which fasthttp closes
		_, err := frozen.WriteBackup(w)
		_ = w.CloseWithError(err) // never fails
		<-s.backups
	}()
	ctx.Response.SetBodyStream(r, -1)
	return nil
}

// restore replaces what a backup holds, or with dry_run only tells what is in
// it.
func (s *Server) restore(ctx *fasthttp.RequestCtx, _ ids) error {
	dry := false
	switch v := string(ctx.QueryArgs().Peek("dry_run")); v {
	case "", "false":
	case "true":
		dry = true
	default:
		return &wire.FieldError{Field: "dry_run", Detail: "want true or false"}
	}
	who := by(ctx)
	length, err := strconv.Atoi(string(ctx.Request.Header.Peek(bodyLength)))
	if err != nil { // a small body that was read already
		status, index, body := s.restored(bytes.NewReader(ctx.Request.Body()), dry, who)
		s.header(ctx, index)
		reply(ctx, status, contentTypeOf(status), body)
		return nil
	}
	if length > ledger.MaxBackup {
		return newProblem(413, wire.TooLarge, "", fmt.Sprintf("a backup of more than %d bytes", ledger.MaxBackup))
	}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { s.restoreFrom(c, length, dry, who) })
	return nil
}

// restoreFrom reads a backup from a connection and answers on it. length is -1
// for a body in chunks.
func (s *Server) restoreFrom(c net.Conn, length int, dry bool, who string) {
	var in io.Reader = patient{c, time.Now().Add(restoreBody)}
	switch {
	case length == -1:
		in = httputil.NewChunkedReader(bufio.NewReader(in))
	case length < 0:
		in = io.LimitReader(in, 0)
	default:
		in = io.LimitReader(in, int64(length))
	}
	status, index, body := s.restored(in, dry, who)
	var answer fasthttp.Response
	answer.SetStatusCode(status)
	answer.Header.SetContentType(contentTypeOf(status))
	answer.Header.SetCanonical(nameCacheControl, noStore)
	answer.Header.SetCanonical(nameIndex, strconv.AppendUint(nil, index, 10))
	answer.SetConnectionClose()
	answer.SetBodyRaw(body)
	out := bufio.NewWriter(c)
	if c.SetWriteDeadline(time.Now().Add(writeTimeout)) == nil && answer.Write(out) == nil && out.Flush() == nil {
		// What is left of a body that was refused is read, or the client loses the
		// answer; see conn.
		if c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			_, _ = io.CopyN(io.Discard, c, lingerBytes)
		}
	}
}

// patient is a connection on which the next bytes, not all of them, are due
// soon.
type patient struct {
	net.Conn
	end time.Time // when all of them are
}

func (p patient) Read(b []byte) (int, error) {
	next := time.Now().Add(restoreRead)
	if p.end.Before(next) {
		next = p.end
	}
	if err := p.SetReadDeadline(next); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

func contentTypeOf(status int) string {
	if status == 200 {
		return wire.TypeJSON
	}
	return wire.TypeProblem
}

// restored restores for who asks, and returns the answer.
func (s *Server) restored(in io.Reader, dry bool, who string) (status int, index uint64, body []byte) {
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
		p = wire.Problem{Status: 409, Code: wire.Restoring, Detail: "another restore is under way; nothing was changed"}
	case errors.Is(err, ledger.ErrBadBackup):
		p.Detail = err.Error() + "; nothing was changed"
	case p.Code == wire.Internal:
		s.log.Error("restore failed", "err", err)
	}
	return p.Status, s.cfg.View.Index(), p.Append(nil)
}
