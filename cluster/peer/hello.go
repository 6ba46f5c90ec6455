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

// The first bytes of a connection between nodes, which tell its purpose.
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

// versions is a range of versions of the protocol.
type versions struct{ oldest, newest uint64 }

var spoken = versions{OldestVersion, NewestVersion}

// namedSince is the first version in which the answer to a hello names the chosen
// version: a zero byte, with which no refusal begins, and the version as a varint. The
// answer to a node that speaks only earlier versions is empty: the version is then the
// one before namedSince.
const namedSince = 5

// Conn is a connection whose greeting is complete.
type Conn struct {
	net.Conn
	Magic   string
	Version uint64 // of the protocol: the newest that both sides speak
}

// versionOf returns the version to speak on a connection. Tests use connections without
// a greeting.
func versionOf(conn net.Conn) uint64 {
	if c, ok := conn.(*Conn); ok {
		return c.Version
	}
	return NewestVersion
}

const (
	greetFor  = 3 * time.Second // for both directions
	maxHello  = 512             // bytes
	maxReason = 400             // bytes of a refusal
	maxID     = 64              // bytes of a cluster's or a node's id

	helloFields = 4
	maxFields   = 16 // of a hello of a later version
)

// ErrUnwelcome: the other node refused the connection. The error contains its reason.
var ErrUnwelcome = errors.New("the other node refuses")

// Hello is the first message on a connection between nodes.
type Hello struct {
	Oldest, Newest uint64 // versions of the protocol that the sender speaks
	Cluster        string // id of the sender's cluster, empty if it is in none
	From           string // id of the sender
}

// Encode writes the hello.
func (h *Hello) Encode(w *codec.Writer) {
	w.Array(helloFields)
	w.Uint(h.Oldest)
	w.Uint(h.Newest)
	w.String(h.Cluster)
	w.String(h.From)
}

// Decode reads a hello. It skips the fields that a later version has added.
func (h *Hello) Decode(r *codec.Reader) {
	more := r.ArrayAtLeast(helloFields, maxFields)
	h.Oldest, h.Newest = r.Uint(), r.Uint()
	h.Cluster, h.From = r.String(maxID), r.String(maxID)
	r.Skip(more)
}

// common returns the newest version that both the sender and v contain.
func (h *Hello) common(v versions) (uint64, error) {
	if h.Oldest > v.newest || h.Newest < v.oldest {
		return 0, fmt.Errorf("node %s speaks versions %d to %d of the protocol between nodes, this one %d to %d",
			h.From, h.Oldest, h.Newest, v.oldest, v.newest)
	}
	return min(h.Newest, v.newest), nil
}

// Greet sends the hello on a connection that this node has dialled and reads the answer.
// It closes the connection on error. The error wraps ErrUnwelcome if the other node refuses.
func Greet(ctx context.Context, conn net.Conn, magic string, h Hello) (*Conn, error) {
	version, err := greet(ctx, conn, magic, h, spoken)
	if err != nil {
		_ = conn.Close() // the error of the greeting is returned
		return nil, err
	}
	return &Conn{conn, magic, version}, nil
}

func greet(ctx context.Context, conn net.Conn, magic string, h Hello, v versions) (version uint64, err error) {
	end := time.Now().Add(greetFor)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	if err := conn.SetDeadline(end); err != nil {
		return 0, err
	}
	h.Oldest, h.Newest = v.oldest, v.newest
	b, err := codec.Append(append([]byte(magic), 0, 0), &h)
	if err != nil {
		return 0, err
	}
	binary.BigEndian.PutUint16(b[magicLen:], uint16(len(b)-magicLen-2))
	if _, err := conn.Write(b); err != nil {
		return 0, err
	}
	answer, err := readShort(conn, maxReason)
	if err != nil {
		return 0, fmt.Errorf("no welcome: %w", err)
	}
	switch {
	case len(answer) == 0:
		version = min(v.newest, namedSince-1)
	case answer[0] != 0:
		return 0, fmt.Errorf("%w: %s", ErrUnwelcome, answer)
	default:
		n := 0
		if version, n = binary.Uvarint(answer[1:]); n <= 0 {
			version = 0
		}
	}
	if version < v.oldest || version > v.newest {
		return 0, fmt.Errorf("the other node chose version %d of the protocol between nodes, this one speaks %d to %d", version, v.oldest, v.newest)
	}
	return version, conn.SetDeadline(time.Time{})
}

// Welcome reads the hello of an accepted connection, passes it to check and answers. The
// caller must close the connection on error. The error wraps ErrUnwelcome if check refused.
func Welcome(conn net.Conn, check func(magic string, h Hello) error) (*Conn, error) {
	magic, version, err := welcome(conn, check, spoken)
	if err != nil {
		return nil, err
	}
	return &Conn{conn, magic, version}, nil
}

func welcome(conn net.Conn, check func(magic string, h Hello) error, v versions) (magic string, version uint64, err error) {
	if err := conn.SetDeadline(time.Now().Add(greetFor)); err != nil {
		return "", 0, err
	}
	var first [magicLen]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return "", 0, err
	}
	if magic = string(first[:]); magic != MagicPeer && magic != MagicRaft {
		return "", 0, fmt.Errorf("%q begins no connection of this version", magic)
	}
	b, err := readShort(conn, maxHello)
	if err != nil {
		return "", 0, err
	}
	var h Hello
	if err := codec.Unmarshal(b, &h); err != nil {
		return "", 0, fmt.Errorf("hello: %w", err)
	}
	if version, err = h.common(v); err == nil {
		err = check(magic, h)
	}
	if err != nil {
		reason := err.Error()
		_, _ = conn.Write(appendShort(nil, reason[:min(len(reason), maxReason)])) // the caller closes the connection in any case
		return "", 0, fmt.Errorf("%w: %w", ErrUnwelcome, err)
	}
	var answer []byte
	if version >= namedSince {
		answer = binary.AppendUvarint([]byte{0}, version)
	}
	if _, err := conn.Write(appendShort(nil, string(answer))); err != nil {
		return "", 0, err
	}
	return magic, version, conn.SetDeadline(time.Time{})
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
