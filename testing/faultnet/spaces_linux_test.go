package faultnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that must come.
const patience = 30 * time.Second

var made atomic.Int64

// spaces makes namespaces on one bridge: two places, and one for a client.
func spaces(t *testing.T) (places []Place, client string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: not root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped: no ip")
	}
	prefix := fmt.Sprintf("qfn%dx%d", os.Getpid(), made.Add(1))
	space := func(name string) string {
		name = prefix + name
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("skipped: no network namespaces: %s", out)
		}
		t.Cleanup(func() { command(t, "ip netns del "+name) })
		return name
	}
	hub := space("hub")
	command(t, "ip -n "+hub+" link add br0 type bridge")
	command(t, "ip -n "+hub+" link set br0 up")
	for i, name := range []string{"a", "b", "c"} {
		n, address := space(name), fmt.Sprintf("10.214.0.%d", i+1)
		command(t, fmt.Sprintf("ip -n %s link add eth0 mtu 1400 type veth peer name v%d netns %s", n, i, hub))
		command(t, fmt.Sprintf("ip -n %s link set v%d mtu 1400 master br0 up", hub, i))
		command(t, "ip -n "+n+" addr add "+address+"/24 dev eth0")
		command(t, "ip -n "+n+" link set eth0 up")
		command(t, "ip -n "+n+" link set lo up")
		places = append(places, Place{n, netip.MustParseAddr(address)})
	}
	return places[:2:2], places[2].Space
}

func command(t *testing.T, line string) string {
	t.Helper()
	words := strings.Fields(line)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// open opens a Net that is closed at the latest with the test.
func open(t *testing.T, places []Place, change func(*Config)) (n *Net, done func()) {
	t.Helper()
	cfg := DefaultConfig()
	change(&cfg)
	n, err := Open(places, cfg)
	if errors.Is(err, ErrCannot) {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	done = func() {
		if closed {
			return
		}
		closed = true
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	t.Cleanup(done)
	return n, done
}

// inside makes something in a namespace that is closed with the test.
func inside[T io.Closer](t *testing.T, space string, make func() (T, error)) (it T) {
	t.Helper()
	err := within(space, func() (err error) {
		it, err = make()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = it.Close() }) // a test may have closed it
	return it
}

// socket is of UDP, on port 4000 of an address.
func socket(t *testing.T, p Place) *net.UDPConn {
	t.Helper()
	c := inside(t, p.Space, func() (*net.UDPConn, error) {
		return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Address, 4000)))
	})
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, from *net.UDPConn, to Place, what ...byte) {
	t.Helper()
	for _, b := range what {
		if _, err := from.WriteToUDPAddrPort([]byte{b}, netip.AddrPortFrom(to.Address, 4000)); err != nil {
			t.Fatal(err)
		}
	}
}

// receive returns the next datagrams, of a byte each.
func receive(t *testing.T, c *net.UDPConn, count int) (got []byte) {
	t.Helper()
	for range count {
		b := make([]byte, 10)
		if _, _, err := c.ReadFrom(b); err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		got = append(got, b[0])
	}
	return got
}

// stand makes a TCP connection from one place to another, where all comes back.
func stand(t *testing.T, from, to Place) net.Conn {
	t.Helper()
	l := inside(t, to.Space, func() (*net.TCPListener, error) {
		return net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(to.Address, 0)))
	})
	c := inside(t, from.Space, func() (*net.TCPConn, error) {
		return net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	})
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		_, _ = io.Copy(other, other) // ends with the connection
	}()
	t.Cleanup(func() { _ = c.Close(); <-echoed; _ = other.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// echo sends over a connection what must come back.
func echo(t *testing.T, c net.Conn, size int) time.Duration {
	t.Helper()
	what, start := bytes.Repeat([]byte{'x'}, size), time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(what)
		sent <- err
	}()
	got := make([]byte, size)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil || !bytes.Equal(got, what) {
		t.Fatalf("what came back is not what was sent, or err %v", err)
	}
	return time.Since(start)
}
