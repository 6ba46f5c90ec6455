package filter

import (
	"bufio"
	"bytes"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// The requests of Raft's transport.
const (
	appendEntries = iota
	requestVote
	installSnapshot
	timeoutNow
	requestPreVote
	numRequests
)

// The types of log entries that this program writes.
var entryTypes = [...]bool{raft.LogCommand: true, raft.LogNoop: true, raft.LogBarrier: true, raft.LogConfiguration: true}

const (
	maxNumber   = 1 << 60  // an index or a term; counting does not reach it
	maxName     = 1 << 10  // bytes of an id or an address
	maxServers  = 1024     // in a configuration
	maxSnapshot = 1 << 38  // bytes
	maxReply    = 64 << 10 // bytes
)

// Limits are the bounds of Raft's messages.
type Limits struct {
	Entries int           // in one request
	Bytes   int           // of one request, all entries together
	Stall   time.Duration // between two reads of a request that has begun
}

// Requests returns a connection that passes on complete and bounded requests of Raft.
func Requests(conn net.Conn, l Limits) net.Conn {
	c := &raftConn{Conn: conn, in: bufio.NewReaderSize(conn, 32<<10)}
	c.read = func() error { return c.request(l) }
	return c
}

// Replies returns a connection that passes on complete and bounded replies of Raft.
func Replies(conn net.Conn) net.Conn {
	c := &raftConn{Conn: conn, in: bufio.NewReaderSize(conn, 4<<10)}
	c.read = c.reply
	return c
}

type raftConn struct {
	net.Conn
	in    *bufio.Reader
	read  func() error
	buf   []byte
	out   []byte // the part of buf that the decoder has not read yet
	body  int64  // bytes of a snapshot that are still to follow
	stall time.Duration
	err   error
}

// Read implements net.Conn.
func (c *raftConn) Read(p []byte) (int, error) {
	if len(c.out) == 0 && c.body == 0 && c.err == nil {
		c.err = c.read()
	}
	if len(c.out) > 0 {
		n := copy(p, c.out)
		c.out = c.out[n:]
		return n, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	// Raft sets no deadline for a snapshot, which its main loop reads.
	_ = c.SetReadDeadline(time.Now().Add(c.stall))
	n, err := c.in.Read(p[:min(int64(len(p)), c.body)])
	c.body -= int64(n)
	return n, err
}

func (c *raftConn) request(l Limits) error {
	c.stall = l.Stall
	if cap(c.buf) > 1<<20 {
		c.buf = nil
	}
	_ = c.SetReadDeadline(time.Time{}) // the next request may come much later
	kind, err := c.in.ReadByte()
	if err != nil {
		return err
	}
	if kind >= numRequests {
		return refuse("request of type %d", kind)
	}
	_ = c.SetReadDeadline(time.Now().Add(l.Stall))
	limit := l.Bytes
	if kind != appendEntries {
		limit = min(limit, maxServers*2*maxName)
	}
	if c.buf, err = scan(c.in, append(c.buf[:0], kind), limit); err != nil {
		return err
	}
	if c.body, err = checkRequest(kind, value(c.buf[1:]), l); err != nil {
		return err
	}
	c.out = c.buf
	return nil
}

func (c *raftConn) reply() (err error) {
	if c.buf, err = scan(c.in, c.buf[:0], maxReply); err != nil {
		return err
	}
	if v := value(c.buf); v.isMap() {
		if err := v.fields(checkField); err != nil {
			return err
		}
	} else if _, text := v.bytes(); !text && !v.isNil() {
		return refuse("a reply that is neither a string nor a map")
	}
	c.out = c.buf
	return nil
}

// checkField returns an error unless the field is nil, a boolean, or a number or a name
// within the bounds.
func checkField(name string, v value) error {
	if n, ok := v.number(); ok {
		if n > maxNumber {
			return refuse("%s is %d", name, n)
		}
		return nil
	}
	if b, ok := v.bytes(); ok {
		if len(b) > maxName {
			return refuse("%s has %d bytes", name, len(b))
		}
		return nil
	}
	if v.isNil() || v[0] == 0xc2 || v[0] == 0xc3 {
		return nil
	}
	return refuse("%s begins with byte %#x", name, v[0])
}

// checkRequest checks a request and returns how many bytes of a snapshot follow it.
func checkRequest(kind byte, v value, l Limits) (body int64, err error) {
	version, configured := uint64(0), false
	err = v.fields(func(name string, f value) error {
		switch {
		case kind == appendEntries && name == "Entries":
			if f.isNil() {
				return nil
			}
			return f.elements(l.Entries, checkEntry)
		case kind == installSnapshot && name == "Size":
			n, ok := f.number()
			if !ok || n > maxSnapshot {
				return refuse("a snapshot of more than %d bytes, or fewer than none", int64(maxSnapshot))
			}
			body = int64(n)
		case kind == installSnapshot && name == "Configuration":
			b, _ := f.bytes()
			configured = validConfiguration(b)
		case kind == installSnapshot && name == "SnapshotVersion":
			version, _ = f.number()
		case kind == installSnapshot && name == "Peers": // the configuration in an earlier format
			return nil
		default:
			return checkField(name, f)
		}
		return nil
	})
	if err == nil && kind == installSnapshot && (!configured || version != 1) {
		err = refuse("a snapshot without a configuration that can be read")
	}
	return body, err
}

func checkEntry(v value) error {
	kind, data := uint64(0), []byte(nil)
	err := v.fields(func(name string, f value) error {
		switch name {
		case "Type":
			var ok bool
			if kind, ok = f.number(); !ok || kind >= uint64(len(entryTypes)) || !entryTypes[kind] {
				return refuse("an entry of type %d", kind)
			}
		case "Data":
			var ok bool
			if data, ok = f.bytes(); !ok && !f.isNil() {
				return refuse("an entry with data that are not bytes")
			}
		case "Index", "Term":
			return checkField(name, f)
		default: // a time or bytes
			if f.isMap() || f.isArray() {
				return refuse("%s of an entry has parts", name)
			}
		}
		return nil
	})
	if err == nil && raft.LogType(kind) == raft.LogConfiguration && !validConfiguration(data) {
		err = refuse("an entry with a configuration that cannot be read")
	}
	return err
}

// validConfiguration reports whether Raft can decode a configuration. Raft panics if it
// cannot.
func validConfiguration(b []byte) (ok bool) {
	if len(b) == 0 {
		return false
	}
	in := bufio.NewReader(bytes.NewReader(b))
	whole, err := scan(in, nil, len(b))
	if err != nil || len(whole) != len(b) {
		return false
	}
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	c := raft.DecodeConfiguration(b)
	seen := map[raft.ServerID]bool{}
	for _, s := range c.Servers {
		if s.ID == "" || seen[s.ID] || len(s.ID) > maxName || len(s.Address) > maxName || s.Suffrage > raft.Staging {
			return false
		}
		seen[s.ID] = true
	}
	return len(c.Servers) <= maxServers
}
