package filter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// The messages of memberlist.
const (
	ping = iota
	indirectPing
	ackResp
	suspect
	alive
	dead
	pushPull
	compound
	userMsg
	compressed
	encrypted
	nackResp
	hasCRC
	errResp
)

const (
	maxNodes      = 1024    // in a list of all nodes
	maxStream     = 2 << 20 // bytes
	maxStreams    = 256     // opened by other hosts, at a time
	maxGossipName = 128     // bytes
	vsnLen        = 6       // memberlist reads six versions without checking
)

// Gossip is a memberlist transport that checks packets and streams before memberlist
// decodes them. If gossip is encrypted it checks only their size: their contents come
// from a holder of the key.
type Gossip struct {
	memberlist.NodeAwareTransport
	isEncrypted bool // gossip is encrypted
	refused     func(from net.Addr, err error)
	packets     chan *memberlist.Packet
	streams     chan net.Conn
	slots       chan struct{}
	done        chan struct{} // closed when memberlist receives nothing any more
	stopped     chan struct{} // closed when the inner transport delivers nothing any more
	once        sync.Once
	wg          sync.WaitGroup
}

// NewGossip filters what a transport receives, until Shutdown. isEncrypted reports whether
// gossip is encrypted. refused is called for each message that is not passed on; its
// calls may overlap.
func NewGossip(t memberlist.NodeAwareTransport, isEncrypted bool, refused func(from net.Addr, err error)) *Gossip {
	g := &Gossip{
		NodeAwareTransport: t, isEncrypted: isEncrypted, refused: refused, packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn), slots: make(chan struct{}, maxStreams), done: make(chan struct{}), stopped: make(chan struct{}),
	}
	g.wg.Add(2)
	go g.passPackets()
	go g.passStreams()
	return g
}

// PacketCh implements memberlist.Transport.
func (g *Gossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh implements memberlist.Transport.
func (g *Gossip) StreamCh() <-chan net.Conn { return g.streams }

// Shutdown implements memberlist.Transport.
func (g *Gossip) Shutdown() error {
	var err error
	g.once.Do(func() {
		close(g.done)
		err = g.NodeAwareTransport.Shutdown() // waits until its packets and streams are received
		close(g.stopped)
		g.wg.Wait()
	})
	return err
}

func (g *Gossip) passPackets() {
	defer g.wg.Done()
	for {
		select {
		case p := <-g.NodeAwareTransport.PacketCh():
			if err := checkPacket(p.Buf, g.isEncrypted); err != nil {
				g.refused(p.From, err)
				continue
			}
			select {
			case g.packets <- p:
			case <-g.done:
			}
		case <-g.stopped:
			return
		}
	}
}

func (g *Gossip) passStreams() {
	defer g.wg.Done()
	for {
		select {
		case conn := <-g.NodeAwareTransport.StreamCh():
			select {
			case g.slots <- struct{}{}:
			default:
				g.refused(conn.RemoteAddr(), refuse("more than %d streams", maxStreams))
				_ = conn.Close() // nothing was read or written
				continue
			}
			s := g.stream(conn)
			s.release = func() { <-g.slots }
			select {
			case g.streams <- s:
			case <-g.done:
				_ = s.Close() // likewise
			}
		case <-g.stopped:
			return
		}
	}
}

// DialTimeout implements memberlist.Transport.
func (g *Gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.dialled(g.NodeAwareTransport.DialTimeout(addr, timeout))
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (g *Gossip) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return g.dialled(g.NodeAwareTransport.DialAddressTimeout(addr, timeout))
}

func (g *Gossip) dialled(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return g.stream(conn), nil
}

func (g *Gossip) stream(conn net.Conn) *gossipConn {
	return &gossipConn{Conn: conn, g: g, in: bufio.NewReader(conn), release: func() {}}
}

// gossipConn carries one message each way.
type gossipConn struct {
	net.Conn
	g       *Gossip
	in      *bufio.Reader
	out     []byte
	read    bool
	err     error
	once    sync.Once
	release func()
}

// Read implements net.Conn.
func (c *gossipConn) Read(p []byte) (int, error) {
	if !c.read {
		c.read = true
		if c.out, c.err = readStream(c.in, c.g.isEncrypted); c.err != nil {
			c.out = nil
			c.g.refused(c.RemoteAddr(), c.err)
		}
	}
	if c.err != nil {
		return 0, c.err
	}
	if len(c.out) == 0 {
		return c.in.Read(p) // the end, or bytes that memberlist does not read
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// Close implements net.Conn.
func (c *gossipConn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}

// readStream reads the one message of a stream.
func readStream(in *bufio.Reader, isEncrypted bool) ([]byte, error) {
	kind, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	buf := []byte{kind}
	if isEncrypted {
		if kind != encrypted {
			return nil, refuse("a message that is not encrypted")
		}
		if buf, err = take(in, buf, 4, maxStream); err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint32(buf[1:])
		if n > maxStream {
			return nil, refuse("more than %d bytes", maxStream)
		}
		return take(in, buf, int(n), maxStream)
	}
	switch kind {
	case ping, ackResp, errResp:
		if buf, err = scan(in, buf, maxReply); err != nil {
			return nil, err
		}
		return buf, value(buf[1:]).fields(checkGossip)
	case pushPull:
	default:
		return nil, refuse("a stream of type %d", kind)
	}
	if buf, err = scan(in, buf, maxReply); err != nil {
		return nil, err
	}
	nodes := uint64(0)
	if err := value(buf[1:]).fields(func(name string, v value) error {
		n, number := v.number()
		switch name {
		case "Nodes":
			if nodes = n; !number || n > maxNodes {
				return refuse("a list of more than %d nodes, or fewer than none", maxNodes)
			}
		case "UserStateLen":
			if !number || n != 0 {
				return refuse("a list with data of an application")
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for range nodes {
		at := len(buf)
		if buf, err = scan(in, buf, maxStream); err != nil {
			return nil, err
		}
		if err := checkNode(value(buf[at:])); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// checkPacket checks a packet in the way in which memberlist decodes it.
func checkPacket(b []byte, isEncrypted bool) error {
	if isEncrypted || len(b) == 0 {
		return nil
	}
	if b[0] == hasCRC && len(b) >= 5 {
		b = b[5:]
	}
	if len(b) > 0 && b[0] == compound {
		return checkCompound(b[1:])
	}
	return checkMessage(b)
}

func checkCompound(b []byte) error {
	if len(b) == 0 {
		return refuse("several messages without a number")
	}
	n := int(b[0])
	b = b[1:]
	if len(b) < 2*n {
		return refuse("fewer bytes than %d lengths take", n)
	}
	lengths, b := b[:2*n], b[2*n:]
	for i := range n {
		l := int(binary.BigEndian.Uint16(lengths[2*i:]))
		if l > len(b) {
			return refuse("a message is cut off")
		}
		if err := checkMessage(b[:l]); err != nil {
			return err
		}
		b = b[l:]
	}
	return nil
}

func checkMessage(b []byte) error {
	if len(b) < 2 {
		return refuse("an empty message")
	}
	kind, b := b[0], b[1:]
	switch kind {
	case ping, indirectPing, ackResp, nackResp, suspect, alive, dead:
	default: // this program never sends it: compressed, encrypted, nested, or of an application
		return refuse("a message of type %d", kind)
	}
	whole, err := scan(bufio.NewReaderSize(bytes.NewReader(b), 16), make([]byte, 0, len(b)), len(b))
	if err != nil {
		return refuse("%v", err)
	}
	if kind == alive {
		return checkNode(whole)
	}
	return value(whole).fields(checkGossip)
}

// checkNode checks the description of a node, which must have six versions: memberlist
// reads them without checking.
func checkNode(v value) error {
	versions := 0
	err := v.fields(func(name string, f value) error {
		if name == "Vsn" {
			b, _ := f.bytes()
			versions = len(b)
			return nil
		}
		return checkGossip(name, f)
	})
	if err == nil && versions != vsnLen {
		err = refuse("%d versions, want %d", versions, vsnLen)
	}
	return err
}

func checkGossip(name string, v value) error {
	b, text := v.bytes()
	if !text {
		return nil
	}
	most := maxGossipName
	switch name {
	case "Addr", "Target", "SourceAddr":
		if len(b) != 0 && len(b) != net.IPv4len && len(b) != net.IPv6len {
			return refuse("%s of %d bytes", name, len(b))
		}
	case "Meta":
		most = memberlist.MetaMaxSize
	case "Payload", "Error":
		most = maxName
	}
	if len(b) > most {
		return refuse("%s of %d bytes, at most %d", name, len(b), most)
	}
	return nil
}
