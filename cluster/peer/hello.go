package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"quorate/limiter/codec"
)

// The first bytes of a connection between nodes, and what it is for.
const (
	MagicRaft = "QRAFT\x02"
	MagicPeer = "QPEER\x04"
	magicLen  = len(MagicPeer)
)

// The versions of the protocol between nodes that this program speaks.
const (
	OldestVersion = 4
	NewestVersion = 4
)

const (
	greetFor  = 3 * time.Second // both ways
	maxHello  = 512             // bytes
	maxReason = 400             // bytes of a refusal
	maxID     = 64              // bytes of a cluster's or a node's id

	helloFields = 4
	maxFields   = 16 // of a later version's hello
)

// ErrUnwelcome: the other side will not speak with this node. It says why.
var ErrUnwelcome = errors.New("the other node refuses")

// Hello is what each connection between nodes begins with.
type Hello struct {
	Oldest, Newest uint64 // versions of the protocol that the sender speaks
	Cluster        string // its id; empty before the node is in one
	From           string // the node's id
}

// Encode writes the hello.
func (h *Hello) Encode(w *codec.Writer) {
	w.Array(helloFields)
	w.Uint(h.Oldest)
	w.Uint(h.Newest)
	w.String(h.Cluster)
	w.String(h.From)
}

// Decode reads a hello. It passes over what a later version has added.
func (h *Hello) Decode(r *codec.Reader) {
	more := r.ArrayAtLeast(helloFields, maxFields)
	h.Oldest, h.Newest = r.Uint(), r.Uint()
	h.Cluster, h.From = r.String(maxID), r.String(maxID)
	r.Skip(more)
}

// Speaks says why two nodes have no version in common, nil where they have.
func (h *Hello) Speaks() error {
	if h.Oldest > NewestVersion || h.Newest < OldestVersion {
		return fmt.Errorf("node %s speaks versions %d to %d of the protocol between nodes, this one %d to %d",
			h.From, h.Oldest, h.Newest, OldestVersion, NewestVersion)
	}
	return nil
}

// Greet opens a connection that this node has dialled, and closes it where that
// fails. The error wraps ErrUnwelcome where the other side refuses.
func Greet(ctx context.Context, conn net.Conn, magic string, h Hello) error {
	err := greet(ctx, conn, magic, h)
	if err != nil {
		_ = conn.Close() // the refusal is the error that counts
	}
	return err
}

func greet(ctx context.Context, conn net.Conn, magic string, h Hello) error {
	end := time.Now().Add(greetFor)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	if err := conn.SetDeadline(end); err != nil {
		return err
	}
	h.Oldest, h.Newest = OldestVersion, NewestVersion
	b, err := codec.Append(append([]byte(magic), 0, 0), &h)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(b[magicLen:], uint16(len(b)-magicLen-2))
	if _, err := conn.Write(b); err != nil {
		return err
	}
	reason, err := readShort(conn, maxReason)
	if err != nil {
		return fmt.Errorf("no welcome: %w", err)
	}
	if len(reason) > 0 {
		return fmt.Errorf("%w: %s", ErrUnwelcome, reason)
	}
	return conn.SetDeadline(time.Time{})
}

// Welcome reads what an accepted connection begins with, has check look at it
// and answers. With an error, which wraps ErrUnwelcome where check has refused,
// the connection is of no more use.
func Welcome(conn net.Conn, check func(magic string, h Hello) error) (magic string, err error) {
	if err := conn.SetDeadline(time.Now().Add(greetFor)); err != nil {
		return "", err
	}
	var first [magicLen]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return "", err
	}
	if magic = string(first[:]); magic != MagicPeer && magic != MagicRaft {
		return "", fmt.Errorf("%q begins no connection of this version", magic)
	}
	b, err := readShort(conn, maxHello)
	if err != nil {
		return "", err
	}
	var h Hello
	if err := codec.Unmarshal(b, &h); err != nil {
		return "", fmt.Errorf("hello: %w", err)
	}
	if err = h.Speaks(); err == nil {
		err = check(magic, h)
	}
	if err != nil {
		reason := err.Error()
		_, _ = conn.Write(appendShort(nil, reason[:min(len(reason), maxReason)])) // it is closed either way
		return "", fmt.Errorf("%w: %w", ErrUnwelcome, err)
	}
	if _, err := conn.Write(appendShort(nil, "")); err != nil {
		return "", err
	}
	return magic, conn.SetDeadline(time.Time{})
}

// A short text: its length (2 bytes), then its bytes.
func appendShort(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func readShort(r io.Reader, most int) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	if len(b) > most {
		return nil, fmt.Errorf("%d bytes, at most %d", len(b), most)
	}
	_, err := io.ReadFull(r, b)
	return b, err
}
