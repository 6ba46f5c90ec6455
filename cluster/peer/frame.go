// Package peer is the protocol between nodes: one TCP connection to each peer, which
// carries many requests at once.
//
// A frame is a length (4 bytes), a kind (1), a request number (8), all big endian, and
// a payload. An answer has the number of its request; answers come in any order. All
// frames that are added while a write is in progress are sent in the next write.
package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Bounds of the protocol.
const (
	MaxFrame   = 2 << 20 // bytes of one frame
	maxBacklog = 8 << 20 // bytes waiting to be written to one connection
	header     = 4 + 1 + 8
)

type kind uint8

const (
	kindCheck  kind = iota + 1 // a bucket.Route (1 + 8 bytes) and a bucket.Check; answered by kindDone or kindFailed
	kindCall                   // a method (1 byte) and its argument; likewise
	kindDone                   // the result
	kindFailed                 // a code (1 byte) and a text
)

// kindSince is the first version of the protocol that has each kind of request. A
// connection of an earlier version does not send the kind, and ends if it receives it.
var kindSince = [...]uint64{kindCheck: 4, kindCall: 4}

// speaks reports whether a connection of the version carries a kind of request.
func speaks(version uint64, k kind) bool {
	return int(k) < len(kindSince) && kindSince[k] != 0 && kindSince[k] <= version
}

// The errors of a request.
var (
	// ErrNotSent: the request never left this node.
	ErrNotSent = errors.New("not sent")
	// ErrLost: the request was sent and no answer came; its outcome is unknown.
	ErrLost = errors.New("no answer")
	// ErrRefused: the peer answered that it did not execute the request.
	ErrRefused = errors.New("refused")
	// ErrBehind: the peer has not applied the log index that the request needs.
	ErrBehind = errors.New("peer is behind")

	// ErrWouldWait: the handler cannot answer without waiting.
	ErrWouldWait = errors.New("would have to wait")
	// ErrNotOwner: the peer may not decide the check.
	ErrNotOwner = errors.New("not the owner")

	errBacklog = errors.New("too much waits to be written")
)

// NotOwnerError is ErrNotOwner with the epoch of the map that the peer has adopted.
type NotOwnerError struct{ Epoch uint64 }

func (e *NotOwnerError) Error() string { return fmt.Sprintf("not the owner in epoch %d", e.Epoch) }

// Unwrap returns ErrNotOwner and ErrRefused.
func (e *NotOwnerError) Unwrap() []error { return []error{ErrNotOwner, ErrRefused} }

func appendHeader(b []byte, k kind, id uint64) []byte {
	b = append(b, 0, 0, 0, 0, byte(k))
	return binary.BigEndian.AppendUint64(b, id)
}

// setLength fills in the length of the frame that begins at start.
func setLength(b []byte, start int) {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-header))
}

// readFrame reads one frame. The payload is valid until the next call with the same
// buffer.
func readFrame(r *bufio.Reader, buf []byte) (k kind, id uint64, payload []byte, err error) {
	var h [header]byte
	if _, err = io.ReadFull(r, h[:]); err != nil {
		return 0, 0, nil, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if n > MaxFrame {
		return 0, 0, nil, fmt.Errorf("frame of %d bytes, at most %d", n, MaxFrame)
	}
	payload, err = readInto(r, buf[:0], int(n))
	return kind(h[4]), binary.BigEndian.Uint64(h[5:]), payload, err
}

// readInto appends n bytes. The buffer grows only with the bytes that have arrived:
// thousands of connections can claim a large length at no cost.
func readInto(r *bufio.Reader, buf []byte, n int) ([]byte, error) {
	for n > 0 {
		at := len(buf)
		part := min(n, max(64<<10, cap(buf)-at))
		buf = slices.Grow(buf, part)[:at+part]
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			return buf[:at], err
		}
		n -= part
	}
	return buf, nil
}

// outbox gathers frames, which one goroutine writes.
type outbox struct {
	conn net.Conn
	wake chan struct{}

	mu     sync.Mutex
	buf    []byte // guarded by mu
	closed bool   // guarded by mu
}

func newOutbox(conn net.Conn) *outbox { return &outbox{conn: conn, wake: make(chan struct{}, 1)} }

// add appends one frame, built by fill after its header.
func (o *outbox) add(k kind, id uint64, fill func([]byte) ([]byte, error)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return net.ErrClosed
	}
	if len(o.buf) > maxBacklog {
		return errBacklog
	}
	start := len(o.buf)
	b, err := fill(appendHeader(o.buf, k, id))
	if err == nil && len(b)-start-header > MaxFrame {
		err = fmt.Errorf("frame of %d bytes, at most %d", len(b)-start-header, MaxFrame)
	}
	if err != nil {
		o.buf = o.buf[:start]
		return err
	}
	setLength(b, start)
	o.buf = b
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return nil
}

// run writes until close or an error, and closes the connection.
func (o *outbox) run() {
	defer o.conn.Close()
	var spare []byte
	for range o.wake {
		o.mu.Lock()
		out := o.buf
		o.buf = spare[:0]
		closed := o.closed
		o.mu.Unlock()
		if len(out) > 0 {
			// A peer that reads nothing for this long is dead.
			_ = o.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
			if _, err := o.conn.Write(out); err != nil {
				o.close()
				return
			}
		}
		if closed {
			return
		}
		spare = out
		if cap(spare) > 1<<20 {
			spare = nil
		}
	}
}

// close refuses further frames, and ends run once the gathered ones are written.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
