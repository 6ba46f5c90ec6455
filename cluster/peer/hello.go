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

// versions is a range of versions of the protocol.
type versions struct{ oldest, newest uint64 }

var spoken = versions{OldestVersion, NewestVersion}

// namedSince is the first version in which the answer to a hello names the
// version that was chosen: a zero byte, which begins no refusal, and the version
// as a varint. The answer to a node that speaks none so new is empty, and the
// version is then the one before.
const namedSince = 5

// Conn is a connection on which both sides have greeted.
type Conn struct {
	net.Conn
	Magic   string
	Version uint64 // of the protocol: the newest that both sides speak
}

// versionOf returns the version to speak on a connection: in tests there are such
// as nobody has greeted on.
func versionOf(conn net.Conn) uint64 {
	if c, ok := conn.(*Conn); ok {
		return c.Version
	}
	return NewestVersion
}

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

// common returns the newest version that the sender speaks and v contains.
func (h *Hello) common(v versions) (uint64, error) {
	if h.Oldest > v.newest || h.Newest < v.oldest {
		return 0, fmt.Errorf("node %s speaks versions %d to %d of the protocol between nodes, this one %d to %d",
			h.From, h.Oldest, h.Newest, v.oldest, v.newest)
	}
	return min(h.Newest, v.newest), nil
}

// Greet opens a connection that this node has dialled, and closes it if that
// fails. The error wraps ErrUnwelcome if the other side refuses.
func Greet(ctx context.Context, conn net.Conn, magic string, h Hello) (*Conn, error) {
	version, err := greet(ctx, conn, magic, h, spoken)
	if err != nil {
		_ = conn.Close() // the refusal is the error that counts
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

// Welcome reads what an accepted connection begins with, passes it to check and
// answers. With an error, which wraps ErrUnwelcome if check has refused, the
// connection is of no more use.
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
		_, _ = conn.Write(appendShort(nil, reason[:min(len(reason), maxReason)])) // it is closed either way
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
